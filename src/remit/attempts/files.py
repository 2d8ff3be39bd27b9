"""Attempts on files that no grant covers: every way to read, change, make, move and run one."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from functools import partial

from remit.attempts.attempt import REFUSALS, Act, Attempt, Outside, Skip, Witness, each
from remit.attempts.reading import read_by
from remit.kernel import raw

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2
_REFUSED_MOVES = (errno.EACCES, errno.EXDEV)  # Landlock answers EXDEV where only the move itself is missing (ABI 2)
_OPENAT2 = (errno.EACCES, errno.ENOSYS)  # it is made missing where it could truncate
_OPEN = Witness("open")
_WAYS_TO_WRITE = {
    "O_WRONLY": os.O_WRONLY,
    "O_RDWR": os.O_RDWR,
    "O_RDWR|O_WRONLY": 3,
    "O_CREAT": os.O_CREAT,
    "O_TRUNC": os.O_TRUNC,
}


def _file(outside: Outside) -> str:
    return f"{outside.directory}/file"


def _open(path: str, flags: int, directory: int | None = None) -> None:
    os.close(os.open(path, flags, 0o600, dir_fd=directory))


def _append(path: str) -> None:
    with open(path, "ab", buffering=0) as file:
        file.write(b"x")


def _write_link(outside: Outside) -> None:
    os.symlink(_file(outside), "link")
    try:
        _append("link")
    finally:
        os.unlink("link")


def _write_descriptor(outside: Outside) -> None:
    holder = os.open(_file(outside), os.O_PATH)
    _append(f"/proc/self/fd/{holder}")


def _write_directory(outside: Outside) -> None:
    holder = os.open(outside.directory, os.O_PATH | os.O_DIRECTORY)
    _open("file", os.O_WRONLY, holder)


def _opens(call: str) -> Act:
    def act(outside: Outside) -> None:
        path = os.fsencode(_file(outside))
        before = (_HERE, path) if call == "openat" else (path,)
        each(
            (f"{call} {name}", partial(raw.call, call, *before, flags, 0o600)) for name, flags in _WAYS_TO_WRITE.items()
        )

    return act


def _openat2(outside: Outside) -> None:
    how = raw.Memory(struct.pack("=QQQ", os.O_WRONLY, 0, 0))
    os.close(raw.call("openat2", _HERE, os.fsencode(_file(outside)), how, 24))


def _truncate_by_open(outside: Outside) -> None:
    """Without asking to write, which is what Landlock had a right for first."""
    if not outside.readable_program:
        raise Skip("nothing may only be read")
    path = os.fsencode(outside.readable_program)
    how = raw.Memory(struct.pack("=QQQ", os.O_TRUNC, 0, 0))
    each(
        (
            ("open O_TRUNC", lambda: raw.call("openat", _HERE, path, os.O_TRUNC)),
            ("open O_TRUNC|O_RDWR|O_WRONLY", lambda: raw.call("openat", _HERE, path, os.O_TRUNC | 3)),
            ("openat2 O_TRUNC", lambda: raw.call("openat2", _HERE, path, how, 24)),
        ),
        _OPENAT2,
    )


def _creat(outside: Outside) -> None:
    os.close(raw.call("creat", os.fsencode(_file(outside)), 0o600))


def _inherited(outside: Outside) -> None:
    """Standard error is a file outside that was opened for reading; it may not be opened again for writing."""
    if not os.fstat(2).st_mode & stat.S_IFREG:
        raise Skip("no descriptor was handed over")
    _append("/proc/self/fd/2")


def _handle(outside: Outside) -> None:
    """A file by its number, past every path. The handle need not be right: the call must not get that far."""
    handle = raw.Memory(struct.pack("=Ii", 8, 1) + bytes(128))
    os.close(raw.call("open_by_handle_at", -1, handle, os.O_RDONLY))


def _hard_link(outside: Outside) -> None:
    try:
        os.link(_file(outside), "linked")
    finally:
        if os.path.lexists("linked"):
            os.unlink("linked")


def _move_in(outside: Outside) -> None:
    os.rename(_file(outside), "taken")


def _move_out(outside: Outside) -> None:
    _append("mine")
    try:
        os.rename("mine", _file(outside))
    finally:
        if os.path.exists("mine"):
            os.unlink("mine")


def _exchange(outside: Outside) -> None:
    _append("mine")
    try:
        raw.call("renameat2", _HERE, b"mine", _HERE, os.fsencode(_file(outside)), _EXCHANGE)
    finally:
        os.unlink("mine")


def _node(kind: int, major: int = 0, minor: int = 0) -> Act:
    return lambda outside: os.mknod(f"{outside.directory}/made", 0o600 | kind, os.makedev(major, minor))


def _device(outside: Outside) -> None:
    if not outside.device:
        raise Skip("this machine has no device node that this user may open")
    _open(outside.device, os.O_RDONLY)


def _device_call(outside: Outside) -> None:
    if not outside.readable_device:
        raise Skip("this machine has no device that this user may read and that programs do not need")
    descriptor = os.open(outside.readable_device, os.O_RDONLY | os.O_NONBLOCK)
    raw.call("ioctl", descriptor, 0x7F01, 0)


def _run(outside: Outside) -> None:
    os.execv(f"{outside.directory}/true", ["true"])


def _run_readable(outside: Outside) -> None:
    if not outside.readable_program:
        raise Skip("no program of the kind is set up")
    os.execv(outside.readable_program, ["true"])


def _make(path: str) -> Callable[[Outside], str]:
    return lambda outside: f"{outside.directory}/{path}"


_MADE, _EMPTY = _make("made"), _make("empty")


def _attempt(
    name: str,
    tries: str,
    how: str,
    act: Act,
    *,
    witness: Witness | None = None,
    refusals: tuple[int, ...] = REFUSALS,
    gaps: tuple[str, ...] = (),
) -> Attempt:
    return Attempt(name, "files", tries, how, act, witness, refusals, gaps=("files-unwalled", *gaps))


# Only Landlock answers these; the kernel's own EPERM for want of a capability is not this wall's answer.
_LANDLOCK = (errno.EACCES,)

ATTEMPTS = (
    _attempt("read", "read a file outside", "open, by seven names", lambda o: each(read_by(_file(o)))),
    _attempt("list", "list a directory outside", "open, getdents", lambda o: os.listdir(o.directory)),
    _attempt("write-open", "open a file outside for writing", "open, each flag", _opens("open"),
             witness=Witness("open", times=5)),
    _attempt("write-openat", "open a file outside for writing", "openat, each flag", _opens("openat"),
             witness=Witness("open", times=5)),
    _attempt("write-openat2", "open a file outside for writing", "openat2", _openat2, witness=_OPEN,
             refusals=_OPENAT2),
    _attempt("write-creat", "empty a file outside", "creat", _creat, witness=_OPEN),
    _attempt("write-by-link", "write through a link of one's own", "symlink, open", _write_link, witness=_OPEN),
    _attempt("write-by-dots", "write by a path that climbs out", "open",
             lambda o: _append(os.path.relpath(_file(o))), witness=_OPEN),
    _attempt("write-by-root", "write by the root of a process", "open",
             lambda o: _append(f"/proc/self/root{_file(o)}"), witness=_OPEN),
    _attempt("write-by-directory", "write by a directory's descriptor", "open O_PATH, openat", _write_directory,
             witness=_OPEN),
    _attempt("write-by-descriptor", "write by a path-only descriptor", "open O_PATH, open", _write_descriptor,
             witness=_OPEN),
    _attempt("write-inherited", "write what was handed over for reading", "open of /proc/self/fd/2", _inherited,
             witness=_OPEN),
    Attempt("open-by-handle", "system-calls", "open a file by its number", "open_by_handle_at", _handle,
            Witness("privilege", "open_by_handle_at")),
    _attempt("truncate", "empty a file outside", "truncate", lambda o: os.truncate(_file(o), 0),
             refusals=_LANDLOCK),
    _attempt("truncate-by-open", "empty a file that may only be read", "open, openat2", _truncate_by_open,
             witness=Witness("open", times=3), refusals=_OPENAT2),
    _attempt("remove", "remove a file outside", "unlink", lambda o: os.unlink(_file(o)), refusals=_LANDLOCK),
    _attempt("remove-directory", "remove a directory outside", "rmdir", lambda o: os.rmdir(_EMPTY(o)),
             refusals=_LANDLOCK),
    _attempt("hard-link", "bring a file in by another name", "link", _hard_link, refusals=_REFUSED_MOVES),
    _attempt("move-in", "move a file in", "rename", _move_in, refusals=_REFUSED_MOVES),
    _attempt("move-out", "move a file over one outside", "rename", _move_out, refusals=_REFUSED_MOVES),
    _attempt("exchange", "exchange two files", "renameat2 RENAME_EXCHANGE", _exchange, refusals=_REFUSED_MOVES),
    _attempt("make-file", "make a file outside", "mknod S_IFREG", _node(stat.S_IFREG), refusals=_LANDLOCK),
    _attempt("make-directory", "make a directory outside", "mkdir", lambda o: os.mkdir(_MADE(o)), refusals=_LANDLOCK),
    _attempt("make-link", "make a link outside", "symlink", lambda o: os.symlink("file", _MADE(o)),
             refusals=_LANDLOCK),
    _attempt("make-pipe", "make a named pipe outside", "mknod S_IFIFO", _node(stat.S_IFIFO), refusals=_LANDLOCK),
    _attempt("make-socket", "make a socket outside", "mknod S_IFSOCK", _node(stat.S_IFSOCK), refusals=_LANDLOCK),
    # 0:0 is a whiteout, the one device node that needs no capability.
    _attempt("make-character-device", "make a device node", "mknod S_IFCHR 0:0", _node(stat.S_IFCHR),
             refusals=_LANDLOCK),
    _attempt("make-block-device", "make a disk's node", "mknod S_IFBLK 7:0", _node(stat.S_IFBLK, 7),
             refusals=_LANDLOCK),
    _attempt("device", "open a device no grant names", "open", _device),
    Attempt("device-ioctl", "device-ioctl", "steer a device that may only be read", "open, ioctl", _device_call,
            refusals=_LANDLOCK, gaps=("device-ioctl-unwalled",)),
    _attempt("run", "run a program that no grant covers", "execve", _run, refusals=_LANDLOCK),
    _attempt("run-readable", "run a program that may only be read", "execve", _run_readable, refusals=_LANDLOCK),
)  # fmt: skip
