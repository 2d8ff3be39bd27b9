"""What an answer to a question can be, and what the code that gives one may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.plan import Plan
from remit.supervisor.phases import Grants
from remit.supervisor.processes import Process, ProcessTable


class Proceed(Data):
    """Let the call run: decided from registers alone, or covered by another wall."""


class Fail(Data):
    """Refuse with this errno."""

    error: int


class Return(Data):
    """Report this value without running the call."""

    value: int


class Later(Data):
    """Somebody else will answer: the deputy, or the exec stop."""


Answer = Proceed | Fail | Return | Later


class Desk(Data):
    """What every answerer needs: the plan's tables, the processes, and where to record."""

    plan: Plan
    temporary_directory: str
    processes: ProcessTable
    record: Callable[..., Any]
    by_phase: dict[str | None, Grants]
    udp: bool  # whether any process of the session may send datagrams
    is_over: Callable[[Process], bool]  # whether a process belongs to a phase whose processes are ended

    def grants(self, process: Process | None) -> Grants:
        """What a process may; for None what all may."""
        return self.by_phase[process.phase if process else None]


def record_refusal(
    desk: Desk,
    kind: str,
    process: Process,
    operation: str,
    question: Question,
    error: int,
    clause: str,
    *,
    wall: str = "system-calls",
    **more: Any,
) -> Fail:
    """Record a refused call and refuse it."""
    desk.record(
        kind,
        process=process.identity,
        operation=operation,
        arguments=list(question.arguments),
        errno=error,
        refused=True,
        wall=wall,
        clause=clause,
        **more,
    )
    return Fail(error)
