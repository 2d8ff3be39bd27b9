"""Signals reach the session's own processes alone, also where Landlock has no wall for them.

A number may come to mean another process while its question waits. So a signal goes on by itself only where it names
the caller's own process, which cannot end meanwhile; any other is sent by the supervisor, through the descriptor that
it holds of the target. To a group or to everybody it is sent member by member: outsiders in it get none.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable

from remit.kernel import pidfd, proc
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.supervisor import nested
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed, Return, record_refusal
from remit.supervisor.processes import Process
from remit.supervisor.taken import signed, take

CLAUSE = "signals reach the session's own processes only"
_THREAD_CLAUSE = "a signal for one thread reaches the caller's own threads only"
_FILE_CLAUSE = "signals by descriptor: only by one of pidfd_open"
_LAST_SIGNAL = 64
_INFORMATION = 128  # sizeof(siginfo_t)
_CODE = struct.Struct("=iii")  # si_signo, si_errno, si_code
_SI_TKILL = -6

Respond = Callable[[Question, int, int], None]
Send = Callable[[Process], None]


class SignalAnswers:
    """Answers the calls that send signals. `respond` answers a question with a value and an errno; `killable` says
    that no signal but a fatal one breaks off a question that was taken up."""

    def __init__(self, desk: Desk, respond: Respond, *, killable: bool) -> None:
        self._desk = desk
        self._respond = respond
        self._killable = killable

    def send(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """Any call of SIGNALS."""
        if nested.allows_namespaces(desk.plan.scope) and nested.numbers_apart(process):
            return Proceed()  # in a process namespace made inside, no number names an outsider
        return SIGNALS[name](self, process, question, name)

    def _kill(self, process: Process, question: Question, name: str) -> Answer:
        target, number = signed(question.arguments[0]), signed(question.arguments[1])
        if target == process.pid:
            return Proceed()
        if not 0 <= number <= _LAST_SIGNAL:
            return Fail(errno.EINVAL)
        if target > 0:
            return self._to_one(process, question, name, target, lambda found: _send(found, number))
        return self._to_many(process, question, name, target, lambda found: _send(found, number))

    def _queue(self, process: Process, question: Question, name: str) -> Answer:
        """rt_sigqueueinfo: a signal with words of the sender's own."""
        target, number = signed(question.arguments[0]), signed(question.arguments[1])
        if target == process.pid:
            return Proceed()
        told = _information(question, 2)
        if not 0 <= number <= _LAST_SIGNAL:
            return Fail(errno.EINVAL)
        if not _may_be_told(told):
            return Fail(errno.EPERM)
        told = number.to_bytes(4, "little") + told[4:]
        return self._to_one(process, question, name, target, lambda found: _send(found, number, told))

    def _to_thread(self, process: Process, question: Question, name: str) -> Answer:
        """tgkill and rt_tgsigqueueinfo, which name the process as well as the thread."""
        group, thread = signed(question.arguments[0]), signed(question.arguments[1])
        if group == process.pid:
            return Proceed()
        if group <= 0 or thread <= 0:
            return Fail(errno.EINVAL)
        return self._refuse_thread(process, question, name, group)

    def _to_any_thread(self, process: Process, question: Question, name: str) -> Answer:
        """tkill, which names a thread alone; musl raises signals so."""
        thread, number = signed(question.arguments[0]), signed(question.arguments[1])
        if thread == question.pid:
            return Proceed()
        if thread <= 0 or not 0 <= number <= _LAST_SIGNAL:
            return Fail(errno.EINVAL)
        if self._desk.processes.owner(thread) is not process:
            return self._refuse_thread(process, question, name, thread)
        # The caller's process is there for as long as it waits, so its number is its own.
        try:
            pidfd.signal_thread(process.pid, thread, number)
        except OSError as problem:
            return Fail(problem.errno or errno.ESRCH)
        return Return(0)

    def _refuse_thread(self, process: Process, question: Question, name: str, target: int) -> Answer:
        if not _exists(target):
            return Fail(errno.ESRCH)
        return self._refuse(process, question, name, target, _THREAD_CLAUSE)

    def _by_descriptor(self, process: Process, question: Question, name: str) -> Answer:
        """pidfd_send_signal: the descriptor is taken, so that what is judged is what is used."""
        number = signed(question.arguments[1])
        if question.arguments[3] & 0xFFFFFFFF:
            return Fail(errno.EINVAL)  # as before 6.9, which brought threads and groups
        told = _information(question, 2) if question.arguments[2] else None
        if told is not None and _CODE.unpack_from(told)[0] != number:
            return Fail(errno.EINVAL)
        descriptor = take(process, question)
        try:
            target = pidfd.named(descriptor)
            if target is None:
                return self._refuse(process, question, name, -1, _FILE_CLAUSE, errno.EBADF)
            if target == -1:
                return Fail(errno.ESRCH)
            found = self._desk.processes.find(target)
            if found is None and self._desk.processes.has_ended(target):
                return Return(0)
            if found is None or not _is_of(descriptor, found):
                return self._refuse(process, question, name, target)
            return self._deliver(process, question, [found], lambda found: _send(found, number, told))
        finally:
            close_promptly(descriptor)

    def _to_one(self, process: Process, question: Question, name: str, target: int, send: Send) -> Answer:
        found = self._desk.processes.find(target) if target > 0 else None
        if found is not None:
            return self._deliver(process, question, [found], send)
        if self._desk.processes.has_ended(target):
            return Return(0)  # as the kernel says of a process that nobody has waited for
        if not _exists(target):
            return Fail(errno.ESRCH)
        return self._refuse(process, question, name, target)

    def _to_many(self, process: Process, question: Question, name: str, target: int, send: Send) -> Answer:
        """kill of one's own group (0), of another (-group), of everybody else (-1)."""
        running = self._desk.processes.running()
        if target == -1:
            members = [member for member in running if member is not process]
            return self._deliver(process, question, members, send) if members else Fail(errno.ESRCH)
        group = -target or os.getpgid(process.pid)
        members = [member for member in running if _group(member) == group]
        if members:
            return self._deliver(process, question, members, send)
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, OverflowError):
            return Fail(errno.ESRCH)
        except PermissionError:
            pass
        return self._refuse(process, question, name, target)

    def _deliver(self, process: Process, question: Question, members: list[Process], send: Send) -> Answer:
        """Send to each. It has come to something when one could be reached."""
        others = [member for member in members if member is not process]
        problems = [problem for problem in (_try(send, member) for member in others) if problem]
        if len(others) == len(members):
            return Fail(problems[0]) if len(problems) == len(members) else Return(0)
        if self._killable:
            problem = _try(send, process)
            return Fail(problem) if problem and len(members) == 1 else Return(0)
        # Its own signal would break off the question, and the kernel would begin the call again, for ever.
        self._respond(question, 0, 0)
        _try(send, process)
        return Later()

    def _refuse(
        self,
        process: Process,
        question: Question,
        name: str,
        target: int,
        clause: str = CLAUSE,
        error: int = errno.EPERM,
    ) -> Answer:
        return record_refusal(
            self._desk, "signal", process, name, question, error, clause, wall="signals", target=target
        )


SIGNALS: dict[str, Callable[[SignalAnswers, Process, Question, str], Answer]] = {
    "kill": SignalAnswers._kill,
    "tkill": SignalAnswers._to_any_thread,
    "tgkill": SignalAnswers._to_thread,
    "rt_sigqueueinfo": SignalAnswers._queue,
    "rt_tgsigqueueinfo": SignalAnswers._to_thread,
    "pidfd_send_signal": SignalAnswers._by_descriptor,
}


def _send(target: Process, number: int, told: bytes | None = None) -> None:
    if not pidfd.send_signal(target.pidfd, number, told):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _try(send: Send, target: Process) -> int:
    """The errno, 0 for success."""
    try:
        send(target)
    except OSError as problem:
        return problem.errno or errno.EPERM
    return 0


def _is_of(descriptor: int, process: Process) -> bool:
    """Whether it stands for this process. The number was held before it is read here, and still is afterwards."""
    return pidfd.named(descriptor) == process.pid and pidfd.is_alive(process.pidfd)


def _information(question: Question, argument: int) -> bytes:
    return proc.read_memory(question.pid, question.arguments[argument], _INFORMATION)


def _may_be_told(told: bytes) -> bool:
    """What the kernel lets nobody say to another: that it came from kill, from tkill, or from itself."""
    code: int = _CODE.unpack_from(told)[2]
    return code < 0 and code != _SI_TKILL


def _group(process: Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


def _exists(target: int) -> bool:
    """Whether the number is that of any process or thread at all."""
    try:
        os.kill(target, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
