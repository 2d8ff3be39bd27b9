"""Full sight: every open is a question, every read that must be refused is recorded, and the kernel goes on deciding.

The path is read and resolved while the caller waits; it may have raced, so the record says `predicted`. A granted read
leaves one record for each process, program, step and grant of the scope's own, none for a preset's: evidence grows with
programs and not with files. What lies inside a secret is always recorded.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from remit.kernel.seccomp import Question
from remit.plan import PathGrant
from remit.supervisor.answer_files import (
    GPU_DEVICES,
    OUTSIDER_CLAUSE,
    PLAIN_DEVICES,
    WRITING,
    asked_open,
    looks_into_outsider,
    open_for_writing,
    place,
    resolve,
)
from remit.supervisor.answers import Answer, Desk, Proceed
from remit.supervisor.observing import uncovered
from remit.supervisor.paths import PathTable
from remit.supervisor.processes import Process
from remit.supervisor.seen import Seen

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
            self._look(process, question.pid, opened.directory, opened.path, opened.flags)
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

    def _look(self, process: Process, pid: int, directory: int, asked: str, flags: int) -> None:
        found = place(pid, directory, asked, flags & os.O_NOFOLLOW)
        if found is None:
            # Nothing there to read: a search, not an act. Compilers and linkers search the same places for ever.
            self._remember(asked, resolve(pid, directory, asked)[0])
            return
        clause = self._desk.files.clause(found, "read")
        self._remember(asked, found)
        if looks_into_outsider(self._desk, found):
            lacking = {"errno": errno.EACCES, "refused": True, "wall": "files", "clause": OUTSIDER_CLAUSE}
            self._record(process, asked, found, flags, lacking, outsider=True)
        elif clause is None:
            lacking = uncovered(self._desk.plan, self._lacking(found), wall="files")
            # What is refused was meant to be; what is only observed would fill the evidence.
            if lacking["refused"] or self._seen.first(process.identity, found):
                self._record(process, asked, found, flags, lacking)
        elif self._is_secret(found) or (
            not clause.startswith("use:") and self._seen.first(process.identity, f"read {clause}")
        ):
            self._record(process, asked, found, flags, {"errno": 0, "refused": False, "wall": "", "clause": clause})

    def _remember(self, asked: str, found: str) -> None:
        """A path that a preset grants, and that the agent cannot lead elsewhere, need not be resolved again.

        What outsiders change there meanwhile, such as a new link out of a system tree, is still walled, but not seen.
        """
        if not (self._desk.files.clause(found, "read") or "").startswith("use:"):
            return
        if (
            self._desk.plan.observe
            or "/.." in asked
            or not asked.startswith("/")
            or _is_procs(asked)
            or _is_procs(found)
        ):
            return
        if any(self._desk.files.clause(path, "write") or self._is_secret(path) for path in (asked, found)):
            return
        if len(self._quiet) >= _QUIET_MAX:
            self._quiet.clear()
        self._quiet.add(asked)

    def _lacking(self, path: str) -> str:
        return "files.secrets" if self._is_secret(path) else "files.read"

    def _is_secret(self, path: str) -> bool:
        return self._secrets.clause(path, "secret") is not None

    def _record(
        self, process: Process, asked: str, path: str, flags: int, members: dict[str, Any], **more: Any
    ) -> None:
        if path in PLAIN_DEVICES or path.startswith(("/dev/pts/", "pipe:", "socket:", "anon_inode:")):
            return
        kind = "open"
        if path.startswith(GPU_DEVICES):
            kind, more = "device", {"class": "gpu", "absent": False}
        self._desk.record(
            kind, process=process.identity, path=path, asked=asked, flags=flags, **members, predicted=True, **more
        )


def _is_procs(path: str) -> bool:
    """Whether a path means something else for each process."""
    return path.startswith(("/proc/", "/dev/fd/", "/dev/std"))
