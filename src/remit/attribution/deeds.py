"""What the kernel saw each step do, to stand beside what its call said it would: programs, files written, hosts.

Only acts that went through, and that are charged to one step. Bounded; `more` counts what is not listed.
"""

from __future__ import annotations

from typing import Any

from remit.events import Change, Connect, Exec, Exit, Open, ProcessEvent
from remit.findings import Attribution

_MOST = 64  # of each kind, for each step
_MOST_WORDS, _LONGEST_WORD = 16, 200
WRITING = 0o3 | 0o100 | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC


class Deed:
    """What one step did."""

    def __init__(self) -> None:
        self.programs: list[dict[str, Any]] = []
        self.writes: dict[str, None] = {}
        self.hosts: dict[str, None] = {}
        self.more = 0

    def listed(self) -> dict[str, Any]:
        return {
            "programs": self.programs,
            "writes": list(self.writes),
            "hosts": list(self.hosts),
            "more": self.more,
        }


class Deeds:
    """All steps' deeds, from the events and what they are charged to."""

    def __init__(self) -> None:
        self._steps: dict[str, Deed] = {}
        self._running: dict[str, dict[str, Any]] = {}  # process -> the program that it runs

    def of(self, step: str) -> Deed:
        return self._steps.get(step) or Deed()

    def feed(self, event: ProcessEvent, attribution: Attribution) -> None:
        if isinstance(event, Exit):
            program = self._running.pop(event.process, None)
            if program is not None:
                program["status"] = exit_status(event.status)
            return
        if attribution.step is None:
            return
        match event:
            case Exec(errno=0, refused=False):
                self._ran(event, self._deed(attribution.step))
            case Open(errno=0, refused=False, device_class=None) if event.flags & WRITING:
                self._note(self._deed(attribution.step), "writes", event.path)
            case Change(errno=0, refused=False):
                self._note(self._deed(attribution.step), "writes", event.path)
            case Connect(operation="connect") if event.begun and event.clause != "model":
                place = event.address if event.family == "unix" else f"{event.address}:{event.port}"
                self._note(self._deed(attribution.step), "hosts", place)

    def _deed(self, step: str) -> Deed:
        return self._steps.setdefault(step, Deed())

    def _ran(self, event: Exec, deed: Deed) -> None:
        self._running.pop(event.process, None)  # it goes on as another program, and how it ends is that one's
        if len(deed.programs) >= _MOST:
            deed.more += 1
            return
        words = [word[:_LONGEST_WORD] for word in event.arguments[:_MOST_WORDS]]
        program = {"image": event.image[:_LONGEST_WORD], "arguments": words, "status": None}
        deed.programs.append(program)
        self._running[event.process] = program

    def _note(self, deed: Deed, kind: str, name: str) -> None:
        known: dict[str, None] = getattr(deed, kind)
        if name in known:
            return
        if len(known) >= _MOST:
            deed.more += 1
        else:
            known[name] = None


def exit_status(status: int | None) -> int | None:
    """As a shell counts it; a wait status in the record. None when a signal ended it, or nobody knows."""
    return status >> 8 if status is not None and status & 0x7F == 0 else None
