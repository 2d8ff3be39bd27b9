"""At the limit the living are counted, although nobody has been told yet of those that have ended."""

from __future__ import annotations

import errno
import subprocess
from types import SimpleNamespace
from typing import Any

from remit.kernel import pidfd, proc
from remit.kernel.seccomp import Question
from remit.supervisor.answer_calls import create_process
from remit.supervisor.answers import Fail, Proceed
from remit.supervisor.processes import Process, ProcessTable


def test_who_has_ended_leaves_room_for_the_next_at_once() -> None:
    """Its death may be waiting behind this very question."""
    records: list[dict[str, Any]] = []
    table = ProcessTable(
        record=lambda kind, **members: records.append({"kind": kind, **members}),
        watch=lambda process: None,
        unwatch=lambda process: None,
        spawned=lambda pid: None,
    )
    plan = SimpleNamespace(limits=SimpleNamespace(processes=2), scope={}, observe=False)
    desk: Any = SimpleNamespace(plan=plan, processes=table, record=table._record, is_over=lambda process: False)
    programs = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
    try:
        caller, other = (meet(table, program.pid) for program in programs)
        question = Question(1, caller.pid, 57, (0, 0, 0, 0, 0, 0))
        assert create_process(desk, caller, question, "fork") == Fail(errno.EAGAIN)
        programs[1].kill()
        programs[1].wait()
        assert isinstance(create_process(desk, caller, question, "fork"), Proceed)
        assert [r["process"] for r in records if r["kind"] == "exit"] == [other.identity]
    finally:
        for program in programs:
            program.kill()
            program.wait()


def meet(table: ProcessTable, pid: int) -> Process:
    return table._add(pid, proc.read_stat(pid).start, pidfd.open_process(pid), None, "orphan")
