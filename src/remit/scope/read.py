"""Reads a scope file in bounded time and memory, whatever stands under its name: a device, a pipe nobody writes to."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from remit.errors import ScopeError

MAX_BYTES = 256 * 1024
PATIENCE = 5.0  # seconds, for what another program writes into a pipe: `--scope <(...)`


def read_scope_file(path: str) -> bytes:
    """The file's bytes, one more than MAX_BYTES when it is too large; raises ScopeError when it cannot be read."""
    try:
        # Opening a pipe that nobody writes to would wait for ever, and a terminal could become the caller's own.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem:
        raise _unreadable(path, problem.strerror or str(problem), problem.errno) from problem
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind == stat.S_IFREG:
            return _read_all(descriptor, None)
        if kind == stat.S_IFIFO:
            return _read_all(descriptor, time.monotonic() + PATIENCE)
    except TimeoutError as problem:
        raise ScopeError(
            f"cannot read the scope file: {path}: nobody wrote it to its end within {PATIENCE:.0f} seconds",
            hint="name a plain file",
            path=path,
        ) from problem
    except OSError as problem:
        raise _unreadable(path, problem.strerror or str(problem), problem.errno) from problem
    finally:
        os.close(descriptor)
    what = {stat.S_IFDIR: "a directory", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}.get(kind, "no plain file")
    raise ScopeError(f"cannot read the scope file: {path}: it is {what}", hint="name a plain file", path=path)


def _read_all(descriptor: int, deadline: float | None) -> bytes:
    found = b""
    while len(found) <= MAX_BYTES:
        if deadline is not None:
            # A pipe without a writer reads as ended; only poll can tell "not yet" from "no more".
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
        try:
            chunk = os.read(descriptor, MAX_BYTES + 1 - len(found))
        except BlockingIOError:
            continue  # another reader of the pipe was faster
        if not chunk:
            break
        found += chunk
    return found


def _unreadable(path: str, reason: str, number: int | None) -> ScopeError:
    hints = {errno.ENOENT: "remit scope explain --text > scope.yaml", errno.EACCES: f"ls -l {path}"}
    return ScopeError(
        f"cannot read the scope file: {path}: {reason}", hint=hints.get(number or 0, "name a plain file"), path=path
    )
