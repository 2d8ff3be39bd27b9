"""Reads the lines of an evidence directory in order, once or while it grows, in memory bounded by one record.

The reader never decides whether evidence is whole; `remit.evidence.chain` does. A torn last line is not returned.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from remit.errors import EvidenceError
from remit.evidence.record import decode_record, segment_name

CHUNK = 1 << 16
LONGEST_LINE = 1 << 26  # far above any record; a longer line is damage, and must not exhaust memory


def read_records(directory: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Every whole record of a directory, in order."""
    for number, line in enumerate(read_lines(directory), 1):
        with damage_named(directory, number):
            record = decode_record(line)
        yield record


@contextmanager
def damage_named(directory: str | os.PathLike[str], number: int) -> Iterator[None]:
    """Whatever goes wrong inside with one record, for it is not what was written, names that record."""
    try:
        yield
    except (EvidenceError, KeyError, TypeError, ValueError, AttributeError) as problem:
        reason = f"it lacks {problem}" if isinstance(problem, KeyError) else str(problem)
        raise EvidenceError(
            f"record {number} is not what was written: {reason}", hint=f"remit verify {directory}"
        ) from problem


def read_lines(directory: str | os.PathLike[str]) -> Iterator[bytes]:
    """Every whole line of a directory, in order, without its newline."""
    follower = Follower(directory)
    try:
        yield from follower.lines()
    finally:
        follower.close()


class Follower:
    """A position in an evidence directory; `lines` returns what was completed since the last call.

    The writer finishes a segment before it creates the next one, so a segment is done once its successor exists.
    """

    def __init__(self, directory: str | os.PathLike[str] | int) -> None:
        self._own_directory = not isinstance(directory, int)
        try:
            self._directory = (
                directory if isinstance(directory, int) else os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            )
        except OSError as problem:
            raise EvidenceError(f"cannot open the evidence directory {directory}: {problem.strerror}") from problem
        self._number = 1
        self._segment = -1
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """Yield each line that is complete now, without its newline."""
        while self._open_current():
            yield from self._drain()
            if not self._exists(self._number + 1):
                return
            # Lines may have come between our last read and the creation of the next segment.
            yield from self._drain()
            os.close(self._segment)
            self._segment, self._rest = -1, b""
            self._number += 1

    @property
    def rest(self) -> bytes:
        """The bytes after the last newline: a line that is being written, or was torn."""
        return self._rest.rstrip(b"\0")

    def close(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
            self._segment = -1
        if self._own_directory:
            os.close(self._directory)
            self._own_directory = False

    def _open_current(self) -> bool:
        if self._segment >= 0:
            return True
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
            self._segment = os.open(segment_name(self._number), flags, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise EvidenceError(f"cannot open {segment_name(self._number)}: {problem.strerror}") from problem
        return True

    def _exists(self, number: int) -> bool:
        return os.access(segment_name(number), os.F_OK, dir_fd=self._directory, follow_symlinks=False)

    def _drain(self) -> Iterator[bytes]:
        while chunk := os.read(self._segment, CHUNK):
            self._rest += chunk
            *complete, self._rest = self._rest.split(b"\n")
            if len(self._rest) > LONGEST_LINE:
                raise EvidenceError(f"a line is longer than {LONGEST_LINE} bytes: {segment_name(self._number)}")
            yield from complete
