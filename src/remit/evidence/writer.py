"""The sole writer of evidence: append-only segments, one hash chain, written in batches and never rewritten.

Records wait in memory until `flush`, which the supervisor calls once per turn of its loop and before anything is
judged; a `kill -9` loses at most that batch. Space is set aside ahead of what is written. When the disk is full and
that space is used up, `full` says so: what merely happened is then counted as lost and not written, and the last of the
space is kept for how the session ends.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Any

from remit.errors import EXIT_BUDGET, EvidenceError
from remit.evidence.record import FIRST_HASH, encode_record, encode_verbatim, segment_name

SEGMENT_BYTES = 64 << 20
AHEAD = 4 << 20  # kept allocated ahead: some ten thousand records
LAST = 256 << 10  # of that, for what must still be said on a full disk
PENDING_MAX = 1 << 20  # what must be said and cannot be written waits in memory, up to here

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What merely happened. Without step marks an act could be charged to the wrong step; the others are few.
_MAY_BE_LOST = frozenset(
    {"fork", "exec", "exit", "open", "device", "connect", "bind", "flow", "privilege", "signal", "compute", "turn"}
)

Allocate = Callable[[int, int, int], None]


class EvidenceWriter:
    """Appends records to a fresh directory. Raises EvidenceError when it cannot be created or written.

    `allocate` sets space of a file aside: descriptor, offset and length. Without it, nothing is set aside.
    """

    def __init__(self, directory: str | os.PathLike[str], allocate: Allocate | None = None) -> None:
        self.directory = os.fspath(directory)
        self.count = 0
        self.full = False
        self.lost: dict[str, int] = {}  # kind -> how many records were not written, since somebody last took note
        self._allocate = allocate
        self._previous = FIRST_HASH
        self._batch: list[bytes] = []
        self._pending = b""  # chained already, but the disk did not take it
        self._segment = 0
        self._written = 0
        self._allocated = 0
        self._short = False  # space could not be set aside as far ahead as it should
        self._descriptor = -1
        self._next_segment()

    @property
    def head(self) -> str:
        """The hash of the last record that was appended."""
        return self._previous

    def append(self, kind: str, members: dict[str, Any]) -> int:
        """Add one record and return its number, or 0 if it is lost; it is on disk after the next `flush`."""
        if self.full and kind in _MAY_BE_LOST:
            self.lost[kind] = self.lost.get(kind, 0) + 1
            return 0
        body = {"time": time.time_ns(), "kind": kind, **members}
        line, self._previous = encode_record(self.count + 1, body, self._previous)
        self.count += 1
        self._batch.append(line)
        return self.count

    def append_verbatim(self, kind: str, members: bytes) -> int:
        """Add the engine's bytes as they are; raises ValueError when they are not one JSON object."""
        line, self._previous = encode_verbatim(self.count + 1, time.time_ns(), kind, members, self._previous)
        self.count += 1
        self._batch.append(line)
        return self.count

    def flush(self) -> bool:
        """Write the batch; True when something was written. Raises EvidenceError when the disk fails.

        A full disk only sets `full`, until more than PENDING_MAX waits that must not be lost.
        """
        if not self._batch and not self._pending:
            return False
        self._pending += b"".join(self._batch)
        self._batch.clear()
        before = self._written
        self._set_aside(len(self._pending))
        try:
            while self._pending:
                count = os.write(self._descriptor, self._pending)
                self._written += count
                self._pending = self._pending[count:]
        except OSError as problem:
            if problem.errno not in _NO_SPACE or len(self._pending) > PENDING_MAX:
                raise self._failure(problem) from problem
        self.full = bool(self._pending) or (self._short and self._allocated - self._written < LAST)
        if self._written >= SEGMENT_BYTES and not self.full and self._has_space_for_another():
            self._next_segment()
        return self._written > before

    def retry(self) -> bool:
        """See whether a full disk has space again: whether records are written as before."""
        self._short = False
        self._set_aside(0)
        self.full = self._short
        self.flush()
        return not self.full

    def take_lost(self) -> dict[str, int]:
        """What was lost since the last call."""
        lost, self.lost = self.lost, {}
        return lost

    def flush_all(self) -> None:
        """Write everything, or raise EvidenceError: nobody will come back for what waits."""
        self.flush()
        if self._pending:
            raise self._failure(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def close(self) -> None:
        """Write everything, and make the last segment durable."""
        self.flush_all()
        self._finish_segment()

    def _set_aside(self, length: int) -> None:
        """Keep space allocated ahead of `length` bytes more; less of it on a disk that is nearly full."""
        needed = self._written + length
        if self._allocate is None or (self._allocated - needed >= AHEAD // 2 and not self._short):
            return
        ahead = AHEAD
        while ahead >= LAST:
            start, end = max(self._allocated, self._written), needed + ahead
            try:
                if end > start:
                    self._allocate(self._descriptor, start, end - start)
                self._allocated, self._short = max(self._allocated, end), ahead < AHEAD
                return
            except OSError as problem:
                if problem.errno not in _NO_SPACE:
                    self._allocate = None  # this file system sets nothing aside
                    return
            ahead //= 2
        self._short = True

    def _has_space_for_another(self) -> bool:
        try:
            free = os.statvfs(self.directory)
        except OSError:
            return False
        return free.f_bavail * free.f_frsize > 2 * AHEAD

    def _next_segment(self) -> None:
        path = f"{self.directory}/{segment_name(self._segment + 1)}"
        try:
            # O_EXCL and O_NOFOLLOW: evidence is never written into something that somebody else put there.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        except OSError as problem:
            raise EvidenceError(
                f"cannot create evidence {path}: {problem.strerror}", hint="choose another place: --evidence DIR"
            ) from problem
        if self._descriptor >= 0:
            self._finish_segment()
        self._descriptor, self._segment = descriptor, self._segment + 1
        self._written = self._allocated = 0
        self._set_aside(0)

    def _finish_segment(self) -> None:
        try:
            # Gives back what was set aside and not used.
            os.ftruncate(self._descriptor, self._written)
            os.fsync(self._descriptor)
        except OSError as problem:
            raise self._failure(problem) from problem
        os.close(self._descriptor)

    def _failure(self, problem: OSError) -> EvidenceError:
        failure = EvidenceError(f"cannot write evidence in {self.directory}: {problem.strerror}")
        if problem.errno in _NO_SPACE:
            failure.exit_status = EXIT_BUDGET
        return failure
