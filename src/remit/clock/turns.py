"""Which tool calls are under way: each begins a step when the model asks for it, and ends it when its result is sent.

A call is known by its id and by who got it: another process that sends a result of the same id ends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from remit.clock.model_api import ToolCall
from remit.digest import sha256
from remit.protocol import Message

OUTSIDE = "outside"
_LONGEST_ID = 200
_DEEPEST = 32
_LONGEST_ARGUMENTS = 256 << 10  # as JSON; more is cut, and says so


class Turns:
    """The open calls of all conversations of one session. `caller` is the identity of the process that is served;
    OUTSIDE for a harness that is none of the session's."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], str] = {}  # caller and call -> step
        self._used: set[str] = set()

    def delivered(self, caller: str, calls: list[ToolCall], asked: Sequence[dict[str, Any]] = ()) -> list[Message]:
        """The marks for these calls, in order: each begins a step. One whose id is open already ends that first.
        `asked`: what each of them declares, where that was read."""
        marks: list[Message] = []
        for call, declared in zip_longest(calls, asked):
            marks += self.brought(caller, {call.id})
            step = self._name(call.id)
            self._open[caller, call.id] = step
            begin = {"do": "step", "mark": "begin", "step": step, "tool": call.tool[:_LONGEST_ID]}
            if caller != OUTSIDE:
                begin["caller"] = caller
            begin["arguments"] = bounded(call.arguments)
            marks.append({**begin, **({"declared": declared} if declared else {})})
        return marks

    def brought(self, caller: str, results: set[str]) -> list[Message]:
        """The marks that end the steps of calls whose results this caller sends."""
        found = [key for key in self._open if key[0] == caller and key[1] in results]
        return [{"do": "step", "mark": "end", "step": self._open.pop(key)} for key in found]

    def under_way(self, caller: str, results: set[str]) -> dict[str, str]:
        """The steps of those of these calls that this caller has not brought a result of before."""
        return {call: self._open[caller, call] for call in results if (caller, call) in self._open}

    def undelivered(self, caller: str, calls: list[ToolCall]) -> list[Message]:
        """The marks that end the steps of calls that never reached the caller."""
        return self.brought(caller, {call.id for call in calls})

    def _name(self, call: str) -> str:
        """A step's id is the call's, unless models use one twice, or one that is too long for a name."""
        name = (
            call if len(call) <= _LONGEST_ID else f"{call[:_LONGEST_ID]}~{sha256(call.encode(errors='replace'))[:16]}"
        )
        step, number = name, 1
        while step in self._used:
            number += 1
            step = f"{name}#{number}"
        self._used.add(step)
        return step


def bounded(arguments: Any) -> Any:
    """What evidence can hold: not too deep, and not too long."""
    try:
        text = json.dumps(_shallow(arguments, _DEEPEST))
    except (ValueError, RecursionError):
        return {"cut": "not to be written"}
    if len(text) > _LONGEST_ARGUMENTS:
        return {"cut": text[:_LONGEST_ARGUMENTS], "sha256": sha256(text.encode("ascii"))}
    return json.loads(text)


def _shallow(value: Any, deepest: int) -> Any:
    if isinstance(value, dict | list) and not deepest:
        return "(deeper)"
    if isinstance(value, dict):
        return {name: _shallow(member, deepest - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_shallow(member, deepest - 1) for member in value]
    return value
