"""No open file of the session's sends a signal to an outsider: the kernel sends SIGIO and others to whom one belongs.

fcntl and ioctl say so (F_SETOWN, FIOSETOWN), and a terminal belongs to whatever runs in front of it, which may be the
launcher or the caller's own programs. Where Landlock has a wall for signals it covers these, and nothing asks.
"""

from __future__ import annotations

import errno
import os
import struct

from remit.kernel import files, proc
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.supervisor.answer_calls import Handler, refuse
from remit.supervisor.answers import Answer, Desk, Fail, Proceed, Return, record_refusal
from remit.supervisor.processes import Process
from remit.supervisor.taken import signed, take

_CLAUSE = "an open file signals the process that it is open in, and no other"
_TERMINAL_CLAUSE = "a terminal signals whatever runs in front of it, which may be an outsider"
_F_SETFL, _F_SETOWN, _F_SETOWN_EX = 4, 8, 15
_FIOASYNC, _OWNERS = 0x5452, (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
_LOW = 0xFFFFFFFF
_SETTABLE = 0x7FFFFFFF


def control_file(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """fcntl: F_SETOWN to nobody or to the caller itself goes on; O_ASYNC is set for the caller; no leases."""
    command, value = question.arguments[1] & _LOW, question.arguments[2]
    if command == _F_SETFL:
        return _set_flags(desk, process, question, name, signed(value))
    if command == _F_SETOWN and signed(value) in (0, process.pid):
        return Proceed()
    if command not in (_F_SETOWN, _F_SETOWN_EX):
        return refuse(desk, process, question, name)  # a lease
    return _refuse(desk, process, question, name, _CLAUSE)


def control_device(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """ioctl, of which few requests ask; what is no concern of signals is refused like any other dangerous call."""
    request = question.arguments[1] & _LOW
    if request == _FIOASYNC:
        (on,) = struct.unpack("=i", proc.read_memory(question.pid, question.arguments[2], 4))
        return _set_flags(desk, process, question, name, os.O_ASYNC if on else 0, os.O_ASYNC)
    if request in _OWNERS:
        return _refuse(desk, process, question, name, _CLAUSE)
    return refuse(desk, process, question, name)


def _set_flags(
    desk: Desk, process: Process, question: Question, name: str, flags: int, changed: int = _SETTABLE
) -> Answer:
    """Flags belong to what was opened, not to the descriptor, so they can be set by a descriptor that was taken."""
    descriptor = take(process, question)
    try:
        if os.isatty(descriptor):
            return _refuse(desk, process, question, name, _TERMINAL_CLAUSE)
        files.set_flags(descriptor, flags, changed)
    except OSError as problem:
        return Fail(problem.errno or errno.EPERM)
    finally:
        close_promptly(descriptor)
    return Return(0)


def _refuse(desk: Desk, process: Process, question: Question, name: str, clause: str) -> Answer:
    return record_refusal(desk, "signal", process, name, question, errno.EPERM, clause, wall="signals", target=0)


HANDLERS: dict[str, Handler] = {"fcntl": control_file, "ioctl": control_device}
