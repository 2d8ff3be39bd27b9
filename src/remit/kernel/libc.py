"""Raw system calls through libc, with errno turned into OSError; every other kernel module builds on this one."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_libc.sendto.restype = ctypes.c_ssize_t

MACHINE = os.uname().machine

# Numbers of the calls that libc does not wrap. Calls newer than 5.1 share one number on all architectures.
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(MACHINE, -1)
SYS_TGKILL = {"x86_64": 234, "aarch64": 131}.get(MACHINE, -1)
SYS_PIDFD_SEND_SIGNAL = 424
SYS_PIDFD_OPEN = 434
SYS_OPENAT2 = 437
SYS_PIDFD_GETFD = 438
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446


def system_call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None, what: str) -> int:
    """Make one system call; raises OSError with errno, and `what` as the operation, when it fails."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = _syscall(ctypes.c_long(number), *words)
    if result < 0:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, f"{what}: {os.strerror(number_of_error)}")
    return result


def libc_call(name: str, *arguments: object, what: str) -> int:
    """Call a libc function that returns -1 on error; raises OSError like `system_call`."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number_of_error = ctypes.get_errno()
        raise OSError(number_of_error, f"{what}: {os.strerror(number_of_error)}")
    return result


def socket_call(name: str, descriptor: int, address: bytes) -> int:
    """bind(2) or connect(2) with a raw struct sockaddr; returns the errno, 0 for success. Releases the GIL."""
    result: int = getattr(_libc, name)(descriptor, address, len(address))
    return ctypes.get_errno() if result < 0 else 0


def send_to(descriptor: int, data: bytes, flags: int, address: bytes) -> tuple[int, int]:
    """sendto(2) with a raw struct sockaddr, or none if it is empty; (errno, bytes sent). Releases the GIL."""
    where = address or None
    result: int = _libc.sendto(descriptor, data, ctypes.c_size_t(len(data)), flags, where, ctypes.c_uint(len(address)))
    return (ctypes.get_errno(), 0) if result < 0 else (0, result)
