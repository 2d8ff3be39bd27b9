"""Which grants hold for a process: those of the scope, and of the phase that it was started in; no process is widened.

A session is in one phase at a time, or in none. The next one begins with a step that names it, once no step of another
is under way, and what the last one left running is listed, and ended where the scope says so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from remit.errors import StepError
from remit.kernel import pidfd
from remit.plain import Data
from remit.plan import Plan, by_phase
from remit.supervisor.addresses import GrantTable
from remit.supervisor.paths import PathTable
from remit.supervisor.processes import Process, ProcessTable

_ROUNDS, _PAUSE = 64, 0.005  # of looking for who is left, seconds between two


class Grants(Data):
    """The grants of one phase, with the scope's own, prepared for look-up."""

    files: PathTable
    connect: GrantTable
    udp: GrantTable
    listen: GrantTable
    unix: tuple[str, ...]


def tables(plan: Plan, temporary_directory: str) -> dict[str | None, Grants]:
    """By phase; None for processes in no phase, or of whom it is not known."""
    plans = by_phase(plan)
    return {
        name: Grants(
            PathTable(each.files, temporary_directory),
            GrantTable(each.connect),
            GrantTable(each.udp),
            GrantTable(each.listen),
            each.unix,
        )
        for name, each in plans.items()
    }


class Phases:
    """Where the session is. `current`: the phase of the steps that are or were under way last."""

    def __init__(
        self, plan: Plan, processes: ProcessTable, record: Callable[..., Any], wait: Callable[[float], None]
    ) -> None:
        self._declared = {phase.name: phase for phase in plan.phases}
        self._processes = processes
        self._record = record
        self._wait = wait
        self.current: str | None = None
        self._begun = False
        self._over: set[str] = set()  # phases whose processes are ended wherever they turn up

    def check(self, phase: str | None) -> None:
        """Raises StepError for a phase that the scope does not have."""
        if phase is not None and phase not in self._declared:
            known = (
                f"its phases: {' '.join(self._declared)}" if self._declared else "name it under `phases:` in the scope"
            )
            raise StepError(f"the scope has no such phase: {phase}", hint=known)

    def enter(self, phase: str | None, open_phases: set[str | None]) -> None:
        """A step of this phase begins. Raises StepError while one of another is under way."""
        self.check(phase)
        if not self._declared or (phase == self.current and self._begun):
            return
        if others := open_phases - {phase}:
            other = next(iter(others)) or "none"
            raise StepError(f"a step of another phase is under way: {other}", hint="end its steps first")
        self.leave()
        self.current, self._begun = phase, True
        self._over.discard(phase or "")
        if phase is not None:
            self._record("phase", mark="begin", phase=phase, left_running=[], survivors=None)

    def leave(self) -> None:
        """The phase ends: who is left of it is listed, and ended where the scope says so."""
        name = self.current
        self.current = None
        if name is None:
            return
        survivors = self._declared[name].survivors
        left = [process.identity for process in self._of(name)]
        if survivors == "end":
            self._over.add(name)
            self._end_survivors()
        self._record("phase", mark="end", phase=name, left_running=left, survivors=survivors)

    def of(self, identity: str) -> str | None:
        """The phase of a process that may have ended."""
        process = self._processes.get(int(identity.partition(":")[0]))
        return process.phase if process is not None and process.identity == identity else None

    def is_over(self, process: Process) -> bool:
        """Whether a process belongs to a phase whose processes are ended: it makes no more of them."""
        return process.phase in self._over

    def look_for_late_ones(self) -> None:
        """Kill whoever of a phase that is over has turned up since; called now and then, and waits for nobody."""
        for name in sorted(self._over):
            if late := self._kill_all(name):
                self._record("phase", mark="late", phase=name, left_running=late, survivors="end")

    def _end_survivors(self) -> None:
        for _ in range(_ROUNDS):
            if not [found for name in self._over for found in self._kill_all(name)]:
                return
            self._wait(_PAUSE)

    def _kill_all(self, name: str) -> list[str]:
        found = self._of(name)
        for process in found:
            pidfd.send_signal(process.pidfd, signal.SIGKILL)
        return [process.identity for process in found]

    def _of(self, name: str) -> list[Process]:
        return [process for process in self._processes.running() if process.phase == name]
