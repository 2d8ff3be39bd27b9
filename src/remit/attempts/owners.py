"""Attempts to have the kernel send a signal in the agent's place, to the process or group that an open file belongs to.

No call fails where the wall is the kernel's: the signal is sent to nobody. So each is over when it should have arrived;
the outsiders block what is sent, and /proc shows anybody what waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import time
from collections.abc import Callable

from remit.attempts.attempt import Attempt, Outside, Skip, each
from remit.kernel import raw

# A session with mounts of its own has terminals of its own, and this one's name names nothing there.
_NOT_HERE = (errno.EACCES, errno.EPERM, errno.ENOENT)
_F_SETFL, _F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 4, 8, 10, 15
_OWNER_PROCESS = 1
_FIOSETOWN, _SIOCSPGRP, _FIOASYNC = 0x8901, 0x8902, 0x5452
_SECONDS = 0.3

Act = Callable[[int, int], object]  # of a descriptor, and of a process


def _waiting(pid: int) -> int:
    """The signals that wait for a process, as a set of bits."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("ShdPnd:"))


def _arrives(pid: int, send: Callable[[int], object]) -> None:
    """Send one that does not wait already, and see whether it comes to wait. Raises OSError when it does not."""
    before = _waiting(pid)
    number = next(n for n in range(signal.SIGRTMIN, signal.SIGRTMAX) if not before >> (n - 1) & 1)
    send(number)
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        if _waiting(pid) >> (number - 1) & 1:
            return
        time.sleep(0.005)
    raise OSError(errno.EPERM, "sent, and it never arrived")


def _own(descriptor: int, pid: int) -> None:
    raw.call("fcntl", descriptor, _F_SETOWN, pid)


def _own_by_structure(descriptor: int, pid: int) -> None:
    raw.call("fcntl", descriptor, _F_SETOWN_EX, raw.Memory(struct.pack("=ii", _OWNER_PROCESS, pid)))


def _own_by_device(request: int) -> Act:
    return lambda descriptor, pid: raw.call("ioctl", descriptor, request, raw.Memory(struct.pack("=i", pid)))


def _owned(pid: int, own: Act) -> Callable[[], None]:
    """Data that arrives is told to the owner: on a pair of sockets, which know every way to name one."""

    def send(number: int) -> None:
        import socket

        near, far = socket.socketpair()
        with near, far:
            own(near.fileno(), pid)
            raw.call("fcntl", near.fileno(), _F_SETSIG, number)
            _set_flag(near.fileno())
            far.send(b"x")

    return lambda: _arrives(pid, send)


def _by_owner(outside: Outside) -> None:
    if not outside.neighbour:
        raise Skip("another process of this user is not known")
    ways = (
        ("F_SETOWN", _own),
        ("F_SETOWN_EX", _own_by_structure),
        ("FIOSETOWN", _own_by_device(_FIOSETOWN)),
        ("SIOCSPGRP", _own_by_device(_SIOCSPGRP)),
    )
    each((name, _owned(outside.neighbour, own)) for name, own in ways)


def _set_flag(descriptor: int) -> None:
    raw.call("fcntl", descriptor, _F_SETFL, os.O_ASYNC)


def _set_flag_by_device(descriptor: int) -> None:
    raw.call("ioctl", descriptor, _FIOASYNC, raw.Memory(struct.pack("=i", 1)))


def _typed(outside: Outside, ask: Callable[[int], None]) -> Callable[[], None]:
    """What somebody types is told to whatever runs in front of the terminal."""

    def act() -> None:
        with contextlib.ExitStack() as stack:

            def send(number: int) -> None:
                terminal = os.open(outside.terminal, os.O_RDWR | os.O_NOCTTY)
                stack.callback(os.close, terminal)
                raw.call("fcntl", terminal, _F_SETSIG, number)
                ask(terminal)

            _arrives(outside.typist, send)

    return act


def _by_terminal(outside: Outside) -> None:
    if not outside.typist:
        raise Skip("nobody types here")
    each((("O_ASYNC", _typed(outside, _set_flag)), ("FIOASYNC", _typed(outside, _set_flag_by_device))), _NOT_HERE)


ATTEMPTS = (
    Attempt("signal-by-owner", "signals", "have an open file signal another process of this user",
            "fcntl F_SETOWN, F_SETOWN_EX, ioctl FIOSETOWN, SIOCSPGRP", _by_owner),
    Attempt("signal-by-terminal", "signals", "have a terminal signal what runs in front of it",
            "fcntl O_ASYNC, ioctl FIOASYNC", _by_terminal, refusals=_NOT_HERE),
)  # fmt: skip
