"""Full sight: a name that is made, removed, linked or renamed is a question; the kernel decides, the record says what.

As with opens the paths may race, and the record says `predicted`. A change that a grant covers leaves one record for
each process, program, step, operation and grant; what no grant covers is always recorded.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from remit.kernel import proc
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.supervisor.answer_files import AT_FDCWD, LOW, granted, locate, masked, resolve
from remit.supervisor.answers import Answer, Desk, Proceed
from remit.supervisor.observing import uncovered_write
from remit.supervisor.processes import Process
from remit.supervisor.seen import Seen


class _Call(Data):
    """Which registers hold what: the directory's descriptor (None: the working directory) and the path, twice."""

    operation: str
    makes: bool  # nothing may be there yet
    path: tuple[int | None, int]
    source: tuple[int | None, int] | None = None


_CALLS = {
    "mkdir": _Call("mkdir", True, (None, 0)),
    "mkdirat": _Call("mkdir", True, (0, 1)),
    "mknod": _Call("mknod", True, (None, 0)),
    "mknodat": _Call("mknod", True, (0, 1)),
    "rmdir": _Call("rmdir", False, (None, 0)),
    "unlink": _Call("unlink", False, (None, 0)),
    "unlinkat": _Call("unlink", False, (0, 1)),
    "truncate": _Call("truncate", False, (None, 0)),
    "rename": _Call("rename", False, (None, 1), (None, 0)),
    "renameat": _Call("rename", False, (2, 3), (0, 1)),
    "renameat2": _Call("rename", False, (2, 3), (0, 1)),
    "link": _Call("link", True, (None, 1), (None, 0)),
    "linkat": _Call("link", True, (2, 3), (0, 1)),
    "symlink": _Call("symlink", True, (None, 1)),
    "symlinkat": _Call("symlink", True, (1, 2)),
}
NAMES = tuple(_CALLS)


class Changes:
    """Answers the calls in NAMES."""

    def __init__(self, desk: Desk, seen: Seen) -> None:
        self._desk = desk
        self._seen = seen

    def change(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """Record what would change, then let Landlock decide."""
        call = _CALLS[name]
        path = _name(question, *call.path, follow=call.operation == "truncate")
        source = _name(question, *call.source) if call.source else None
        if path is None or (call.source and (source is None or not os.path.lexists(source))):
            return Proceed()  # the directory is not there, or what should be moved is not
        if call.operation != "rename" and os.path.lexists(path) is call.makes:
            return Proceed()  # it will fail without our walls: made already, or gone already
        self._record(process, call.operation, path, source)
        return Proceed()

    def _record(self, process: Process, operation: str, path: str, source: str | None) -> None:
        changed = [path] if operation == "truncate" else [_directory(path)]
        if source is not None:
            changed.append(_directory(source) if operation == "rename" else source)
        clauses = [granted(self._desk, process, place, "write") for place in changed]
        mask = next((found for place in (*changed, path) if (found := masked(self._desk, place, "write"))), None)
        if mask is not None:
            error = errno.EROFS if mask == "files.protect" else errno.EACCES
            lost = {"errno": error, "refused": True, "wall": "masks", "clause": mask}
            self._write(process, operation, path, source, lost)
            return
        if None in clauses:
            moved = [source] if source is not None and operation == "rename" else []
            names = [] if operation == "truncate" else [path, *moved]
            files = [path] if operation == "truncate" else [source] if operation == "link" and source else []
            plan = self._desk.plan
            lacking = [uncovered_write(plan, name, "files.write", new_name=True) for name in names]
            lacking += [uncovered_write(plan, file, "files.write", new_name=False) for file in files]
            self._write(process, operation, path, source, max(lacking, key=lambda members: members["refused"]))
        elif self._seen.first(process.identity, f"{operation} {clauses[0]}"):
            self._write(
                process, operation, path, source, {"errno": 0, "refused": False, "wall": "", "clause": clauses[0]}
            )

    def _write(self, process: Process, operation: str, path: str, source: str | None, members: dict[str, Any]) -> None:
        more = {"source": source} if source is not None else {}
        self._desk.record(
            "change",
            process=process.identity,
            operation=operation,
            path=path,
            **more,
            **members,
            predicted=True,
        )


def _name(question: Question, descriptor: int | None, register: int, *, follow: bool = False) -> str | None:
    """The name that a call means: its directory resolved, its last part as it is. None when there is no directory."""
    asked = os.fsdecode(proc.read_string(question.pid, question.arguments[register]))
    directory = AT_FDCWD if descriptor is None else question.arguments[descriptor] & LOW
    stripped = asked.rstrip("/")
    above, slash, last = stripped.rpartition("/")
    if follow or last in ("", ".", ".."):
        place = locate(question.pid, directory, asked)
        return None if place.error else place.path
    parent, found = resolve(question.pid, directory, (above or "/") if slash else ".")
    return f"{parent.rstrip('/')}/{last}" if found else None


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "/"
