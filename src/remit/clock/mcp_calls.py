"""Which tool calls of an MCP conversation are under way, and the steps that they are, whatever ids a client repeats."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from remit.clock.mcp_messages import Key

_LONGEST = 200  # of a step's id; ids are the client's, and a step's are bounded


class Calls:
    """Decides, and does nothing: the caller marks the steps."""

    def __init__(self) -> None:
        self._open: dict[Key, list[str]] = {}
        self._answers: dict[Key, int] = {}
        self._unanswerable: list[str] = []
        self._used: set[str] = set()
        self._last: dict[str, int] = {}

    def begin(self, key: Key | None) -> str:
        """The step of a call with this id. Without an id no answer can come, and it is under way until the end."""
        step = self._name("mcp:notification" if key is None else f"mcp:{key[1]}"[:_LONGEST])
        if key is None:
            self._unanswerable.append(step)
        else:
            self._open.setdefault(key, []).append(step)
        return step

    def answered(self, key: Key | None) -> list[str]:
        """The steps that an answer with this id ends. Of calls with one id nobody can say which was answered, so all
        of them are under way until all have been."""
        steps = self._open.get(key) if key is not None else None
        if steps is None or key is None:
            return []
        self._answers[key] = self._answers.get(key, 0) + 1
        return self.cancelled(key) if self._answers[key] >= len(steps) else []

    def cancelled(self, key: Key | None) -> list[str]:
        """The steps of a call that the client gives up."""
        if key is None:
            return []
        self._answers.pop(key, None)
        return self._open.pop(key, [])

    def under_way(self, key: Key | None) -> list[str]:
        """The steps of the calls with this id."""
        return self._open.get(key, []) if key is not None else []

    def forget(self, steps: Container[str]) -> None:
        """These have ended without an answer."""
        self._open = {key: rest for key, open in self._open.items() if (rest := [s for s in open if s not in steps])}
        self._unanswerable = [step for step in self._unanswerable if step not in steps]

    def give_up(self) -> list[str]:
        """The steps of all calls: nobody is left to answer."""
        steps = [*(step for steps in self._open.values() for step in steps), *self._unanswerable]
        self._open.clear()
        self._answers.clear()
        self._unanswerable.clear()
        return steps

    def _name(self, wanted: Any) -> str:
        name, number = wanted, self._last.get(wanted, 1)
        while name in self._used:
            number += 1
            name = f"{wanted}#{number}"
        self._last[wanted] = number
        self._used.add(name)
        return str(name)
