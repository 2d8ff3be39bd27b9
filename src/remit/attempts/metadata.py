"""Attempts on whose a file is, what it allows and when it changed, which Landlock leaves to plain permissions."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from remit.attempts.attempt import Attempt, Outside
from remit.kernel import raw

_GAP = "metadata-unwalled"


def _attempt(name: str, how: str, act: Callable[[str], object]) -> Attempt:
    def try_it(outside: Outside) -> None:
        act(f"{outside.directory}/file")

    return Attempt(name, "files", f"change the {name} of a file outside", how, try_it, gaps=(_GAP,))


def _set_attribute(path: str) -> None:
    os.setxattr(path, "user.remit", b"x")


def _set_mode(path: str) -> None:
    os.chmod(path, 0o666)


def _set_owner(path: str) -> None:
    os.chown(path, os.getuid(), os.getgid())


def _set_times(path: str) -> None:
    os.utime(path, (1, 1))


def _set_flags(outside: Outside) -> None:
    """Too short, so that nothing is changed where the call gets through."""
    raw.call("file_setattr", -100, os.fsencode(f"{outside.directory}/file"), raw.Memory(bytes(8)), 8, 0)


ATTEMPTS = (
    Attempt(
        "flags",
        "system-calls",
        "change the flags of a file outside",
        "file_setattr",
        _set_flags,
        refusals=(errno.ENOSYS,),
    ),
    _attempt("mode", "chmod", _set_mode),
    _attempt("owner", "chown", _set_owner),
    _attempt("times", "utimensat", _set_times),
    _attempt("attributes", "setxattr", _set_attribute),
)
