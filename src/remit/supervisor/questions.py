"""Every question gets exactly one answer, and every failure to find one is a refusal that is recorded."""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable
from functools import partial

from remit.kernel import seccomp
from remit.kernel.seccomp import Question
from remit.kernel.syscalls import NAMES
from remit.supervisor.answer_calls import Handler, refuse
from remit.supervisor.answer_files import OPENS
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed, Return
from remit.supervisor.images import ExecStops
from remit.supervisor.processes import Process
from remit.supervisor.rate import REFUSED_COST

# Then the other sockets are served, verdicts first: a path that leads over many links may take long.
QUESTIONS_PER_TURN, SECONDS_PER_TURN = 64, 0.1


class Questions:
    """Receives from the listener in the thread that answers: handing over costs more than answering."""

    def __init__(self, listener: int, desk: Desk, flooded: Callable[[Process], None]) -> None:
        self.listener = listener
        self._desk = desk
        self._flooded = flooded
        self._handlers: dict[str, Handler] = {}
        self._stops: ExecStops | None = None
        self._is_quiet: Callable[[Question, str], bool] | None = None
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def use(
        self,
        handlers: dict[str, Handler],
        stops: ExecStops,
        is_quiet: Callable[[Question, str], bool] | None = None,
    ) -> None:
        """Install the answerers, which need this object to answer later. is_quiet: opens that need no more looking."""
        self._is_quiet = is_quiet
        self._handlers = handlers
        self._stops = stops

    def serve(self) -> bool:
        """Answer what waits, as much as fits into a turn; False when no process is left under the filter."""
        until = time.monotonic() + SECONDS_PER_TURN
        for _ in range(QUESTIONS_PER_TURN):
            ready = self._poll.poll(0)
            if not ready:
                return True
            if not ready[0][1] & select.POLLIN:
                return False
            question = seccomp.receive(self.listener)
            if question is None:
                continue
            process = self._serve_one(question)
            if process is not None:
                self._flooded(process)
                return True  # frozen: nobody gets an answer
            if time.monotonic() > until:
                return True
        return True

    def proceed(self, question: Question) -> bool:
        return seccomp.proceed(self.listener, question)

    def is_valid(self, question: Question) -> bool:
        return seccomp.is_valid(self.listener, question)

    def respond(self, question: Question, error: int) -> None:
        """Answer later: errno, 0 for success."""
        seccomp.answer(self.listener, question, error=error)

    def give(self, question: Question, value: int, error: int) -> None:
        """Answer later: the value that the call returns, or errno."""
        seccomp.answer(self.listener, question, value=value, error=error)

    def _serve_one(self, question: Question) -> Process | None:
        """Answer one question. Returns its process if that one's program has now asked more than its allowance."""
        name = NAMES.get(question.number, str(question.number))
        process, answer = self._answer_at_sight(question, name) or self._answer(question, name)
        if isinstance(answer, Proceed):
            self.proceed(question)
        elif isinstance(answer, Fail):
            seccomp.answer(self.listener, question, error=answer.error)
        elif isinstance(answer, Return):
            seccomp.answer(self.listener, question, value=answer.value)
        else:
            assert isinstance(answer, Later)
        cost = REFUSED_COST if isinstance(answer, Fail) else 1.0
        spent = process is not None and not process.allowance.spend(cost, time.monotonic())
        return process if spent else None

    def _answer_at_sight(self, question: Question, name: str) -> tuple[Process | None, Answer] | None:
        """An open that needs no looking at, by a process that is known; None for all others."""
        if self._is_quiet is None or name not in OPENS:
            return None
        process = self._desk.processes.known(question.pid)
        return (process, Proceed()) if process is not None and self._is_quiet(question, name) else None

    def _answer(self, question: Question, name: str) -> tuple[Process | None, Answer]:
        process = None
        try:
            process = self._desk.processes.caller(question.pid, partial(seccomp.is_valid, self.listener, question))
            if not seccomp.is_valid(self.listener, question):
                return None, Later()  # the caller died; what was just read may be another process
            if process.unconfirmed and self._stops is not None:
                self._stops.confirm(process)
            return process, self._handlers.get(name, refuse)(self._desk, process, question, name)
        except ProcessLookupError:
            return process, Fail(errno.EPERM)  # gone, or so it says: either way nobody may act on it
        except Exception as problem:
            self._record_failure(process, question, name, problem)
            return process, Fail(_errno_for(problem))

    def _record_failure(self, process: Process | None, question: Question, name: str, problem: Exception) -> None:
        self._desk.record(
            "privilege",
            process=process.identity if process else None,
            operation=name,
            arguments=list(question.arguments),
            errno=_errno_for(problem),
            refused=True,
            wall="supervisor",
            clause=f"the question could not be answered: {problem}",
        )


# Bad pointers, lengths and descriptors fail as they would have without us.
_CALLERS_FAULT = (errno.EFAULT, errno.EBADF, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTSOCK)


def _errno_for(problem: Exception) -> int:
    if isinstance(problem, OSError) and problem.errno in _CALLERS_FAULT:
        return problem.errno
    return errno.EPERM
