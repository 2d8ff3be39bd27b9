"""seccomp user notification (seccomp_unotify(2)): install a filter, receive questions, send answers, give descriptors.

Layouts and ioctl numbers are those of include/uapi/linux/seccomp.h; they have been stable since 5.0 and are the same on
every 64-bit architecture.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from remit.kernel.libc import SYS_SECCOMP, libc_call, system_call
from remit.plain import Data

_PR_GET_SECCOMP = 21
_MODE_FILTER = 2
_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_FLAG_NEW_LISTENER = 1 << 3
_FLAG_WAIT_KILLABLE_RECV = 1 << 5  # 5.19
RET_USER_NOTIF = 0x7FC00000

NOTIF_RECV = 0xC0502100
NOTIF_SEND = 0xC0182101
NOTIF_ID_VALID = 0x40082102
NOTIF_ADDFD = 0x40182103  # 5.9
NOTIF_SET_FLAGS = 0x40082104  # 6.6
_SYNC_WAKE_UP = 1
_RESPONSE_CONTINUE = 1

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction pointer, six arguments.
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_ADDED = struct.Struct("=QIIII")  # struct seccomp_notif_addfd: id, flags, ours, theirs, its flags
_BLANK = bytes(_NOTIFICATION.size)


class Question(Data):
    """One system call that waits for an answer. pid is the calling thread's; arguments are the raw registers."""

    id: int
    pid: int
    number: int
    arguments: tuple[int, int, int, int, int, int]


def notification_available() -> bool:
    """Whether this kernel has SECCOMP_RET_USER_NOTIF and lets us ask."""
    try:
        action = ctypes.create_string_buffer(struct.pack("=I", RET_USER_NOTIF), 4)
        system_call(SYS_SECCOMP, _GET_ACTION_AVAIL, 0, action, what="seccomp SECCOMP_GET_ACTION_AVAIL")
    except OSError:
        return False
    return True


def is_beneath_filter() -> bool:
    """Whether this process has a seccomp filter already (PR_GET_SECCOMP is 2 then)."""
    try:
        return libc_call("prctl", _PR_GET_SECCOMP, 0, 0, 0, 0, what="prctl PR_GET_SECCOMP") == _MODE_FILTER
    except OSError:
        return True  # a filter refuses even to say


def install_filter(program: bytes) -> tuple[int, bool]:
    """Install `program` (struct sock_filter[]) on the calling thread; returns the listener and whether waits are
    killable only, that is, not broken by signals (WAIT_KILLABLE_RECV, 5.19)."""
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: unsigned short len, then a pointer at its natural alignment.
    header = struct.pack("=H6xQ", len(program) // 8, ctypes.addressof(instructions))
    fprog = ctypes.create_string_buffer(header, len(header))
    try:
        flags = _FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE_RECV
        return system_call(SYS_SECCOMP, _SET_MODE_FILTER, flags, fprog, what="seccomp SET_MODE_FILTER"), True
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    return system_call(SYS_SECCOMP, _SET_MODE_FILTER, _FLAG_NEW_LISTENER, fprog, what="seccomp SET_MODE_FILTER"), False


def set_sync_wake_up(listener: int) -> bool:
    """Ask for the synchronous wake-up that makes a question five times cheaper; False below 6.6."""
    try:
        fcntl.ioctl(listener, NOTIF_SET_FLAGS, _SYNC_WAKE_UP)
    except OSError:
        return False
    return True


def receive(listener: int) -> Question | None:
    """The next question, or None when its caller died or a signal came first. Blocks when there is none."""
    buffer = bytearray(_BLANK)
    try:
        fcntl.ioctl(listener, NOTIF_RECV, buffer)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    fields = _NOTIFICATION.unpack(buffer)
    return Question(fields[0], fields[1], fields[3], fields[6:12])


def is_valid(listener: int, question: Question) -> bool:
    """Whether the caller still waits, so that what was read through its pid really was its own."""
    try:
        fcntl.ioctl(listener, NOTIF_ID_VALID, _ID.pack(question.id))
    except OSError:
        return False
    return True


def proceed(listener: int, question: Question) -> bool:
    """Let the call run; False when the caller is gone."""
    return _respond(listener, _RESPONSE.pack(question.id, 0, 0, _RESPONSE_CONTINUE))


def answer(listener: int, question: Question, *, value: int = 0, error: int = 0) -> bool:
    """Return `value`, or fail with errno `error`, without running the call; False when the caller is gone."""
    return _respond(listener, _RESPONSE.pack(question.id, value, -error, 0))


def add_descriptor(listener: int, identity: int, descriptor: int, *, close_on_exec: bool) -> int:
    """Give the caller of a question a duplicate of our descriptor, before it is answered; the number that it has there.

    Waits until the caller has taken it, and a starved one may not soon. Raises OSError: InterruptedError when a signal
    came first, and then it has none; ENOENT when the caller is gone; EMFILE when it can have no more.
    """
    request = _ADDED.pack(identity, 0, descriptor, 0, os.O_CLOEXEC if close_on_exec else 0)
    # Changeable, for only then does ioctl return what the kernel does. Not in one step with the answer (FLAG_SEND), for
    # that cannot be tried again after a signal.
    number: int = fcntl.ioctl(listener, NOTIF_ADDFD, bytearray(request))
    return number


def _respond(listener: int, response: bytes) -> bool:
    try:
        fcntl.ioctl(listener, NOTIF_SEND, response)
    except OSError as problem:
        if problem.errno == errno.ENOENT:
            return False
        raise
    return True
