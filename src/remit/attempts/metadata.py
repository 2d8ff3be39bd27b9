"""Attempts on whose a file is, what it allows and when it changed: by its path, and by a descriptor that may only read.

One for each system call, with arguments that change nothing worth keeping where one gets through.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial

from remit.attempts.attempt import Attempt, Outside, Skip, Witness, each
from remit.kernel import raw

_HERE = -100  # AT_FDCWD
_NAME = b"user.remit"
_MODE = 0o755
# ioctl_fs(2): the requests that set a file's flags, for all of them and for one file system's.
_SET_FLAGS, _SET_ATTRIBUTES = 0x40086602, 0x401C5820
# FAT's flags, a file's generation twice, fs-verity, encryption of a directory; and of btrfs copies of a tree twice,
# subvolumes twice, their removal twice, their flags, and where one came from.
_OTHER_REQUESTS = (
    *(0x40047211, 0x40087602, 0x40086604, 0x40806685, 0x800C6613, 0x50009401, 0x50009417, 0x5000940E, 0x50009418),
    *(0x5000940F, 0x5000943F, 0x4008941A, 0xC0C89425),
)
_BAD = 1  # no address
_LEASES = ((1024, 0), (1024, 1), (1040, _BAD))  # F_SETLEASE of both kinds, F_SETDELEG (6.19)
_DIRT = 0xABCD << 32  # in the half of a register that the kernel does not look at

# What a change is called in records.
_OPERATIONS = {"mode": "chmod", "owner": "chown", "times": "utime", "attribute": "setxattr"}

Call = Callable[[str, bytes], object]  # the call's name, the file's path
_BY_PATH: dict[str, dict[str, Call]] = {
    "mode": {
        "chmod": lambda name, path: raw.call(name, path, _MODE),
        "fchmodat": lambda name, path: raw.call(name, _HERE, path, _MODE),
    },
    "owner": {
        **dict.fromkeys(("chown", "lchown"), lambda name, path: raw.call(name, path, os.getuid(), os.getgid())),
        "fchownat": lambda name, path: raw.call(name, _HERE, path, os.getuid(), os.getgid(), 0),
    },
    "times": {
        **dict.fromkeys(("utime", "utimes"), lambda name, path: raw.call(name, path, 0)),
        **dict.fromkeys(("futimesat", "utimensat"), lambda name, path: raw.call(name, _HERE, path, 0, 0)),
    },
    "attribute": {
        **dict.fromkeys(("setxattr", "lsetxattr"), lambda name, path: raw.call(name, path, _NAME, raw.Memory(b"x"), 1)),
        **dict.fromkeys(("removexattr", "lremovexattr"), lambda name, path: raw.call(name, path, _NAME)),
    },
}
_BY_DESCRIPTOR: dict[str, dict[str, Callable[[str, int], object]]] = {
    "mode": {"fchmod": lambda name, file: raw.call(name, file, _MODE)},
    "owner": {"fchown": lambda name, file: raw.call(name, file, os.getuid(), os.getgid())},
    "attribute": {
        "fsetxattr": lambda name, file: raw.call(name, file, _NAME, raw.Memory(b"x"), 1, 0),
        "fremovexattr": lambda name, file: raw.call(name, file, _NAME),
    },
}
# Newer calls for the same, which programs do without. Too short or too long, so that nothing is changed.
_NEWER: dict[str, Call] = {
    "file_setattr": lambda name, path: raw.call(name, _HERE, path, raw.Memory(bytes(8)), 8, 0),
    "fchmodat2": lambda name, path: raw.call(name, _HERE, path, _MODE, 1),
    "setxattrat": lambda name, path: raw.call(name, _HERE, path, 0, _NAME, raw.Memory(bytes(16)), 8),
    "removexattrat": lambda name, path: raw.call(name, _HERE, path, 1, _NAME),
}


def _by_path(change: str, name: str, act: Call) -> Attempt:
    def try_it(outside: Outside) -> None:
        act(name, os.fsencode(f"{outside.directory}/file"))

    return Attempt(f"call-{name}", "metadata", f"change the {change} of a file outside", name, try_it,
                   Witness("change", _OPERATIONS[change]))  # fmt: skip


def _by_descriptor(change: str, name: str, act: Callable[[str, int], object]) -> Attempt:
    return Attempt(f"call-{name}", "metadata", f"change the {change} of a file that may only be read",
                   f"open, {name}", lambda outside: _with_file(outside, lambda file: act(name, file)),
                   Witness("change", _OPERATIONS[change]))  # fmt: skip


def _newer(name: str, act: Call) -> Attempt:
    def try_it(outside: Outside) -> None:
        act(name, os.fsencode(f"{outside.directory}/file"))

    return Attempt(f"call-{name}", "metadata", "change a file outside by a newer call", name, try_it,
                   refusals=(errno.ENOSYS,))  # fmt: skip


def _with_file(outside: Outside, act: Callable[[int], object]) -> None:
    if not outside.readable_program:
        raise Skip("no file is known that may only be read")
    file = os.open(outside.readable_program, os.O_RDONLY | os.O_CLOEXEC)
    try:
        act(file)
    finally:
        os.close(file)


def _set_flags(outside: Outside, request: int) -> None:
    """Flags that no file system knows, so that nothing is changed where the call gets through."""

    def try_it(file: int) -> None:
        memory = raw.Memory(b"\xff" * 32)
        each(
            [
                (f"ioctl {register:#x}", partial(raw.call, "ioctl", file, register, memory))
                for register in (request, request | _DIRT)
            ],
            refusals=(errno.EPERM,),
        )

    _with_file(outside, try_it)


def _other_requests(outside: Outside) -> None:
    """With nothing at the address, so that nothing is changed where one gets through."""

    def try_it(file: int) -> None:
        each(
            [
                (f"ioctl {request:#x}", partial(raw.call, "ioctl", file, request | _DIRT, _BAD))
                for request in _OTHER_REQUESTS
            ],
            refusals=(errno.EPERM,),
        )

    _with_file(outside, try_it)


def _lease(outside: Outside) -> None:
    """Whoever opens a leased file waits for whoever holds it, up to a minute (fcntl(2)). Let go at once."""

    def try_it(file: int) -> None:
        each(
            [
                (f"fcntl {command}", partial(raw.call, "fcntl", file, command | _DIRT, kind))
                for command, kind in _LEASES
            ],
            refusals=(errno.EPERM,),
        )

    _with_file(outside, try_it)


def _flags(name: str, request: int) -> Attempt:
    return Attempt(name, "metadata", "change the flags of a file that may only be read", "open, ioctl",
                   lambda outside: _set_flags(outside, request), Witness("privilege", "ioctl", 2))  # fmt: skip


ATTEMPTS = (
    *(_by_path(change, name, act) for change, calls in _BY_PATH.items() for name, act in calls.items()
      if raw.number(name) is not None),
    *(_by_descriptor(change, name, act) for change, calls in _BY_DESCRIPTOR.items() for name, act in calls.items()),
    *(_newer(name, act) for name, act in _NEWER.items()),
    _flags("flags-by-descriptor", _SET_FLAGS),
    _flags("flags-of-one-file-system", _SET_ATTRIBUTES),
    Attempt("requests-of-file-systems", "metadata", "change a file that may only be read by what one file system knows",
            "open, ioctl", _other_requests, Witness("privilege", "ioctl", len(_OTHER_REQUESTS))),
    Attempt("lease", "system-calls", "make whoever opens a file wait", "open, fcntl", _lease,
            Witness("privilege", "fcntl", len(_LEASES))),
)  # fmt: skip
