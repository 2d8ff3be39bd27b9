"""Full sight: every open is a question, every read that must be refused is recorded, and the kernel goes on deciding.

The path is read and resolved while the caller waits; it may have raced, so the record says `predicted`. A granted read
leaves one record for each process, program, step and grant of the scope's own, none for a preset's: evidence grows with
programs and not with files. What lies inside a secret is always recorded.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from remit.kernel.paths import is_inside
from remit.kernel.seccomp import Question
from remit.plan import PathGrant
from remit.supervisor import views
from remit.supervisor.answer_files import (
    GPU_DEVICES,
    PLAIN_DEVICES,
    WRITING,
    Opened,
    asked_open,
    granted,
    locate,
    looks_into_outsider,
    masked,
    open_for_writing,
    outsider_refused,
)
from remit.supervisor.answers import Answer, Desk, Proceed
from remit.supervisor.observing import OWN_CLAUSE, uncovered
from remit.supervisor.paths import PathTable
from remit.supervisor.processes import Process
from remit.supervisor.seen import Seen
from remit.supervisor.views import NAMELESS

_QUIET_MAX = 16384


class Reads:
    """Answers opens in full sight."""

    def __init__(self, desk: Desk, seen: Seen) -> None:
        self._desk = desk
        self._seen = seen
        self._quiet: set[str] = set()  # paths that leave no record, as they were asked for
        secrets = (PathGrant(path, ("secret",), "files.secrets") for path in desk.plan.secrets)
        self._secrets = PathTable(secrets, desk.temporary_directory)

    def open(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """open, openat, openat2 and creat."""
        opened = asked_open(question, name)
        if opened.flags & WRITING:
            return open_for_writing(desk, process, question, opened)
        # A path-only descriptor reads nothing; what is opened through it is another question.
        if not opened.flags & os.O_PATH:
            self._look(process, question.pid, opened)
        return Proceed()

    def is_quiet(self, question: Question, name: str) -> bool:
        """Whether this is a read that leaves no record, whoever asks; decided before the caller is looked at.

        Should the caller have died meanwhile, the answer reaches nobody.
        """
        try:
            opened = asked_open(question, name)
        except OSError:
            return False
        return opened.path in self._quiet and not opened.flags & WRITING

    def _look(self, process: Process, pid: int, opened: Opened) -> None:
        asked, flags = opened.path, opened.flags
        place = locate(pid, opened.directory, asked, flags, opened.how)
        self._remember(opened, place.path)
        if place.error == errno.ENOENT and views.is_hidden(pid, place.path):
            lacking = {**self._lacking(place.path), "errno": errno.ENOENT}
            if granted(self._desk, process, place.path, "read") is None:
                self._record(process, asked, place.path, flags, lacking)
            return
        if place.error not in (0, errno.EACCES) or place.path.startswith(NAMELESS):
            # Nothing there to read: a search, not an act. Compilers and linkers search the same places for ever.
            return
        # What plain permissions hide is named as it was asked for.
        found = os.path.normpath(place.path) if place.error else place.path
        clause = granted(self._desk, process, found, "read")
        if looks_into_outsider(self._desk, found):
            self._record(process, asked, found, flags, outsider_refused())
        elif clause is None:
            lacking = self._lacking(found)
            # What is refused was meant to be; what is only observed would fill the evidence.
            if lacking["refused"] or self._seen.first(process.identity, found):
                self._record(process, asked, found, flags, lacking)
        elif self._is_secret(found) or (
            not clause.startswith("use:") and self._seen.first(process.identity, f"read {clause}")
        ):
            self._record(process, asked, found, flags, {"errno": 0, "refused": False, "wall": "", "clause": clause})

    def _remember(self, opened: Opened, found: str) -> None:
        """A path that a preset grants, and that the agent cannot lead elsewhere, need not be resolved again.

        What outsiders change there meanwhile, such as a new link out of a system tree, is still walled, but not seen.
        """
        asked, plan = opened.path, self._desk.plan
        if plan.observe or opened.how or "/.." in asked or not asked.startswith("/") or found.startswith(NAMELESS):
            return
        if (
            not (granted(self._desk, None, found, "read") or "").startswith("use:")
            or _is_procs(asked)
            or _is_procs(found)
        ):
            return
        if any(
            any(grants.files.clause(path, "write") for grants in self._desk.by_phase.values()) or self._is_secret(path)
            for path in (asked, found)
        ):
            return
        if len(self._quiet) >= _QUIET_MAX:
            self._quiet.clear()
        self._quiet.add(asked)

    def _lacking(self, path: str) -> dict[str, Any]:
        plan = self._desk.plan
        if plan.observe and any(is_inside(path, place) for place in plan.hidden):
            return {"errno": errno.EACCES, "refused": True, "wall": "files", "clause": OWN_CLAUSE}
        if masked(self._desk, path, "read") is not None:
            return {"errno": errno.EACCES, "refused": True, "wall": "masks", "clause": "files.secrets"}
        return uncovered(plan, "files.secrets" if self._is_secret(path) else "files.read", wall="files")

    def _is_secret(self, path: str) -> bool:
        return self._secrets.clause(path, "secret") is not None

    def _record(self, process: Process, asked: str, path: str, flags: int, members: dict[str, Any]) -> None:
        if path in PLAIN_DEVICES or path.startswith(("/dev/pts/", "pipe:", "socket:", "anon_inode:")):
            return
        kind, more = "open", dict[str, Any]()
        if path.startswith(GPU_DEVICES):
            kind, more = "device", {"class": "gpu", "absent": False}
        self._desk.record(
            kind, process=process.identity, path=path, asked=asked, flags=flags, **members, predicted=True, **more
        )


def _is_procs(path: str) -> bool:
    """Whether a path means something else for each process."""
    return path.startswith(("/proc/", "/dev/fd/", "/dev/std"))
