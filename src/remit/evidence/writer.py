"""The sole writer of evidence: append-only segments, one hash chain, written in batches and never rewritten.

Records wait in memory until `flush`, which the supervisor calls once per turn of its loop and before anything is
judged; a `kill -9` loses at most that batch.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from remit.errors import EXIT_BUDGET, EvidenceError
from remit.evidence.record import FIRST_HASH, encode_record, encode_verbatim, segment_name

SEGMENT_BYTES = 64 << 20


class EvidenceWriter:
    """Appends records to a fresh directory. Raises EvidenceError when it cannot be created or written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.count = 0
        self._previous = FIRST_HASH
        self._batch: list[bytes] = []
        self._segment = 0
        self._written = 0
        self._descriptor = -1
        self._next_segment()

    @property
    def head(self) -> str:
        """The hash of the last record that was appended."""
        return self._previous

    def append(self, kind: str, members: dict[str, Any]) -> int:
        """Add one record and return its number; it is on disk after the next `flush`."""
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
        """Write the batch; True when there was something to write. Raises EvidenceError when the disk refuses it."""
        if not self._batch:
            return False
        data = b"".join(self._batch)
        self._batch.clear()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as problem:
            failure = EvidenceError(f"cannot write evidence in {self.directory}: {problem.strerror}")
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                failure.exit_status = EXIT_BUDGET
            raise failure from problem
        self._written += len(data)
        if self._written >= SEGMENT_BYTES:
            self._next_segment()
        return True

    def close(self) -> None:
        """Flush and make the last segment durable."""
        self.flush()
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _next_segment(self) -> None:
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
        self._segment += 1
        path = self.directory / segment_name(self._segment)
        try:
            # O_EXCL and O_NOFOLLOW: evidence is never written into something that somebody else put there.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as problem:
            raise EvidenceError(
                f"cannot create evidence {path}: {problem.strerror}", hint="choose another place: --evidence DIR"
            ) from problem
        self._written = 0
