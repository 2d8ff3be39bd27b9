"""Attempts on what lies within a granted tree and is not the agent's: secrets, protected files, shared directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from remit.attempts.attempt import Attempt, GotThrough, Outside, Skip, each

_SECRET, _PROTECTED = "secret-inside-grant", "protected-inside-grant"
# A mask answers with an empty or a read-only file, or does not let what it lies on be moved.
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
# A session with mounts of its own has terminals and memory of its own, where an outsider's name names nothing.
_NOT_HERE = (errno.EACCES, errno.EPERM, errno.ENOENT)


def _read(path: str) -> None:
    with open(path, "rb") as file:
        if file.read(1):
            raise GotThrough(f"{path} was read")
    raise OSError(errno.EACCES, "an empty file in its place")


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def _moved(path: str, then: Callable[[str], None]) -> None:
    """Move the parents out of the way, reach the file by the new name, and put everything back."""
    parent = os.path.dirname(path)
    top, aside = os.path.dirname(parent), f"{os.path.dirname(os.path.dirname(parent))}/moved"
    for tree in (parent, top):
        os.rename(tree, aside)
        try:
            then(aside + path[len(tree) :])
        finally:
            os.rename(aside, tree)


def _linked(path: str, then: Callable[[str], None]) -> None:
    os.link(path, "other-name")
    try:
        then("other-name")
    finally:
        os.unlink("other-name")


def _ways(find: Callable[[Outside], str], then: Callable[[str], None]) -> Callable[[Outside], None]:
    def act(outside: Outside) -> None:
        path = find(outside)
        if not path:
            raise Skip("nothing of the kind is set up")
        each((("by its path", lambda: then(path)), ("by another name", lambda: _linked(path, then))), _REFUSALS)

    return act


def _parents(find: Callable[[Outside], str], then: Callable[[str], None]) -> Callable[[Outside], None]:
    def act(outside: Outside) -> None:
        path = find(outside)
        if not path:
            raise Skip("nothing of the kind is set up")
        _moved(path, then)

    return act


def _open_if_any(find: Callable[[Outside], str], what: str) -> Callable[[Outside], None]:
    def act(outside: Outside) -> None:
        path = find(outside)
        if not path:
            raise Skip(f"this machine has no {what}")
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))

    return act


ATTEMPTS = (
    Attempt("secret", "files", "read a secret within a granted tree", "open, link", _ways(lambda o: o.secret, _read),
            refusals=_REFUSALS, gaps=(_SECRET,)),
    Attempt("secret-by-parents", "files", "the same after moving what it lies in", "rename, open",
            _parents(lambda o: o.secret, _read), refusals=_REFUSALS, gaps=(_SECRET,)),
    Attempt("protected", "files", "write a protected file within a writable tree", "open, link",
            _ways(lambda o: o.protected, _write), refusals=_REFUSALS, gaps=(_PROTECTED,)),
    Attempt("protected-by-parents", "files", "the same after moving what it lies in", "rename, open",
            _parents(lambda o: o.protected, _write), refusals=_REFUSALS, gaps=(_PROTECTED,)),
    Attempt("other-terminal", "files", "write to another session's terminal", "open",
            _open_if_any(lambda o: o.terminal, "terminals"), refusals=_NOT_HERE, gaps=("terminals-shared",)),
    Attempt("other-memory", "files", "open an outsider's shared memory", "open",
            _open_if_any(lambda o: o.memory_file, "/dev/shm"), refusals=_NOT_HERE, gaps=("shared-memory-shared",)),
)  # fmt: skip
