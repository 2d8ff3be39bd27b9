"""Whoever of a phase that is over turns up later is killed at the next look, and that is on record."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from remit.kernel import pidfd
from remit.plan import Phase
from remit.supervisor.phases import Phases


class Late:
    """A process as the table has it, of the phase that is over."""

    def __init__(self, pid: int) -> None:
        self.pid, self.pidfd, self.identity, self.phase = pid, pidfd.open_process(pid), f"{pid}:1", "setup"


class Table:
    def __init__(self) -> None:
        self.alive: list[Late] = []

    def running(self) -> list[Late]:
        return [process for process in self.alive if not pidfd.has_exited(process.pidfd)]


class PlanOf:
    phases = (Phase("setup", (), (), (), (), (), False, "end"), Phase("work", (), (), (), (), (), False, "keep"))


def test_one_that_turns_up_late_is_killed_and_recorded() -> None:
    table, records = Table(), list[dict[str, Any]]()
    record: Any = lambda kind, **members: records.append(members)  # noqa: E731
    phases = Phases(PlanOf(), table, record, lambda seconds: None)  # type: ignore[arg-type]
    phases.enter("setup", set())
    phases.enter("work", set())
    assert [(r["mark"], r["phase"]) for r in records] == [("begin", "setup"), ("end", "setup"), ("begin", "work")]
    phases.look_for_late_ones()
    assert len(records) == 3
    with subprocess.Popen(["sleep", "60"]) as child:
        late = Late(child.pid)
        table.alive.append(late)
        phases.look_for_late_ones()
        assert child.wait(20) == -signal.SIGKILL
        os.close(late.pidfd)
    assert records[3:] == [{"mark": "late", "phase": "setup", "left_running": [late.identity], "survivors": "end"}]
