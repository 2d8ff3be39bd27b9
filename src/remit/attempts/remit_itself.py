"""Attempts on remit's own: the evidence, the control socket, the plans, and every file of it outside."""

from __future__ import annotations

import errno
import os
import socket

from remit.attempts.attempt import Attempt, Outside, Skip, Witness, each
from remit.attempts.reading import read_by
from remit.kernel import raw

_HERE = -100
_LANDLOCK = (errno.EACCES,)
_MOVED = (errno.EACCES, errno.EXDEV)


def segment(outside: Outside) -> str:
    """The evidence that is being written now."""
    return f"{outside.evidence}/segment-000001.jsonl"


def _read(outside: Outside) -> None:
    each(read_by(segment(outside)))


def write_evidence(outside: Outside) -> None:
    """Opening is all: what is recorded stays whole even where this gets through."""
    os.close(os.open(segment(outside), os.O_WRONLY))


def _remove(outside: Outside) -> None:
    """Tried on names that are not there, where a wall that is open answers so."""
    each(
        (
            ("unlink", lambda: os.unlink(segment(outside))),
            ("rename", lambda: os.rename(segment(outside), "taken")),
            ("link", lambda: os.link(segment(outside), "linked")),
            ("rename its directory", lambda: os.rename(outside.evidence, "taken")),
            ("truncate", lambda: os.truncate(segment(outside), os.stat(segment(outside)).st_size)),
        ),
        _MOVED,
    )


def add_evidence(outside: Outside) -> None:
    path = f"{outside.evidence}/planted"
    os.mkdir(path)
    os.rmdir(path)


def steer(outside: Outside) -> None:
    """Connect to the control socket from within its directory, which may be entered without being read."""
    here = os.getcwd()
    os.chdir(outside.evidence)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.setblocking(False)
            end.connect("control.sock")
    finally:
        os.chdir(here)


def _replace_control(outside: Outside) -> None:
    each(
        (
            ("unlink", lambda: os.unlink(f"{outside.evidence}/control.sock")),
            ("rename", lambda: os.rename(f"{outside.evidence}/control.sock", "taken")),
            ("exchange", lambda: _exchange(f"{outside.evidence}/control.sock")),
        ),
        _MOVED,
    )


def _exchange(path: str) -> None:
    with open("mine", "ab"):
        pass
    try:
        raw.call("renameat2", _HERE, b"mine", _HERE, os.fsencode(path), 2)
    finally:
        os.unlink("mine")


def _plans(outside: Outside) -> None:
    if not outside.plans:
        raise Skip("plans are not kept here")
    path = f"{outside.plans}/planted.json"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def _code(outside: Outside) -> None:
    import remit

    path = os.path.join(os.path.dirname(remit.__file__), "__init__.py")
    os.close(os.open(path, os.O_WRONLY))


_UNWALLED = ("files-unwalled",)

ATTEMPTS = (
    Attempt("evidence-read", "files", "read the evidence", "open, by seven names", _read, gaps=_UNWALLED),
    Attempt("evidence-write", "files", "change the evidence", "open", write_evidence, Witness("open"), gaps=_UNWALLED),
    Attempt("evidence-remove", "files", "move, link or empty the evidence", "unlink, rename, link, truncate", _remove,
            refusals=_MOVED, gaps=_UNWALLED),
    Attempt("evidence-add", "files", "plant something in the evidence", "mkdir", add_evidence, refusals=_LANDLOCK,
            gaps=_UNWALLED),
    Attempt("control-connect", "unix-sockets", "steer the session by its control socket", "connect", steer,
            Witness("connect")),
    Attempt("control-replace", "files", "put another socket in its place", "unlink, rename, renameat2",
            _replace_control, refusals=_MOVED, gaps=_UNWALLED),
    Attempt("plans-write", "files", "plant a plan for the next session", "open", _plans, Witness("open"),
            gaps=_UNWALLED),
    Attempt("code-write", "files", "change remit's own code", "open", _code, Witness("open"), gaps=_UNWALLED),
)  # fmt: skip
