"""What was flushed is on disk and verifies, whatever happens next; evidence is never put into somebody else's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from remit.errors import EXIT_BUDGET, EXIT_EVIDENCE, EvidenceError
from remit.evidence import writer as writer_module
from remit.evidence.chain import verify
from remit.evidence.reader import Follower, read_records
from remit.evidence.record import decode_record, segment_name
from remit.evidence.writer import EvidenceWriter
from remit.kernel.files import allocate


def test_records_reach_the_disk_at_flush_and_chain(tmp_path: Path) -> None:
    writer = EvidenceWriter(tmp_path)
    assert writer.append("session", {"session": "s"}) == 1
    assert (tmp_path / segment_name(1)).stat().st_size == 0
    assert writer.flush()
    assert not writer.flush()
    writer.append("closed", {"findings": 0})
    writer.close()
    assert [record["kind"] for record in read_records(tmp_path)] == ["session", "closed"]
    assert verify(tmp_path).whole


def test_the_chain_goes_on_across_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "SEGMENT_BYTES", 500)
    writer = EvidenceWriter(tmp_path)
    writer.append("session", {"session": "s"})
    for number in range(39):
        writer.append("open", {"path": f"/work/{number}"})
        writer.flush()
    writer.append("closed", {"findings": 0})
    writer.close()
    assert len(list(tmp_path.glob("segment-*"))) > 5
    result = verify(tmp_path)
    assert result.whole
    assert result.records == 41


def test_the_engines_bytes_are_copied_and_rubbish_is_refused(tmp_path: Path) -> None:
    writer = EvidenceWriter(tmp_path)
    writer.append("session", {"session": "s"})
    writer.append_verbatim("finding", b'{"finding":{"id":"f1","zeta":1,"alpha":2}}')
    for rubbish in (b"{}", b"[1]", b'{"a":1}\n{"b":2}', '{"a":"\u00e9"}'.encode(), b"{"):
        with pytest.raises(ValueError):
            writer.append_verbatim("finding", rubbish)
    writer.close()
    assert b'"finding":{"id":"f1","zeta":1,"alpha":2}' in (tmp_path / segment_name(1)).read_bytes()
    assert verify(tmp_path).records == 2


def test_an_existing_segment_is_never_written_into(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("keep")
    (tmp_path / segment_name(1)).symlink_to(target)
    with pytest.raises(EvidenceError):
        EvidenceWriter(tmp_path)
    assert target.read_text() == "keep"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_and_what_must_be_said_is_kept_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    writer = EvidenceWriter(tmp_path)
    writer.append("session", {})
    writer.flush()
    refused = Refusing(number)
    monkeypatch.setattr(writer_module.os, "write", refused)
    writer.append("fork", {"process": "1:1"})
    assert writer.flush() is True  # a part of the record
    assert writer.full
    assert writer.append("exec", {}) == 0
    assert writer.append("exec", {}) == 0
    assert writer.append("step", {"mark": "begin"}) == 3
    assert not writer.retry()
    follower = Follower(tmp_path)
    assert len(list(follower.lines())) == 1
    refused.error = 0
    assert writer.retry()
    assert writer.take_lost() == {"exec": 2}
    assert writer.take_lost() == {}
    assert writer.append("exec", {}) == 4
    writer.close()
    # Whoever followed has no torn line in the middle.
    assert [decode_record(line)["kind"] for line in follower.lines()] == ["fork", "step", "exec"]
    follower.close()
    assert verify(tmp_path).whole


def test_what_must_be_said_does_not_wait_in_memory_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EvidenceWriter(tmp_path)
    monkeypatch.setattr(writer_module.os, "write", Refusing(errno.ENOSPC))
    writer.append("step", {"arguments": "x" * 2 * writer_module.PENDING_MAX})
    with pytest.raises(EvidenceError) as caught:
        writer.flush()
    assert caught.value.exit_status == EXIT_BUDGET


def test_a_session_that_cannot_write_its_end_is_not_closed_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EvidenceWriter(tmp_path)
    monkeypatch.setattr(writer_module.os, "write", Refusing(errno.ENOSPC))
    writer.append("end", {})
    with pytest.raises(EvidenceError) as caught:
        writer.close()
    assert caught.value.exit_status == EXIT_BUDGET


def test_a_disk_that_fails_ends_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EvidenceWriter(tmp_path)
    writer.append("session", {})
    monkeypatch.setattr(writer_module.os, "write", Refusing(errno.EIO))
    with pytest.raises(EvidenceError) as caught:
        writer.flush()
    assert caught.value.exit_status == EXIT_EVIDENCE


def test_space_is_set_aside_unseen_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / segment_name(1)
    writer = EvidenceWriter(tmp_path, allocate)
    if path.stat().st_blocks == 0:
        pytest.skip("this file system sets no space aside")
    assert path.stat().st_size == 0
    assert path.stat().st_blocks * 512 >= writer_module.AHEAD
    for _ in range(20):
        writer.append("open", {"path": "x" * 200_000})
        writer.flush()
        assert path.stat().st_blocks * 512 - path.stat().st_size >= writer_module.AHEAD // 2 - 4096
    writer.close()
    assert path.stat().st_blocks * 512 < path.stat().st_size + 65536
    assert list(read_records(tmp_path))[-1]["n"] == 20


def test_when_no_more_can_be_set_aside_what_was_is_used_up_to_the_last(tmp_path: Path) -> None:
    """The disk takes what was allocated and not a byte more."""
    room = Room(6 << 20)
    writer = EvidenceWriter(tmp_path, room.allocate)
    writer.append("session", {"session": "s"})
    lost = 0
    for _ in range(200):
        lost += writer.append("open", {"path": "x" * 50_000}) == 0
        writer.flush()
    assert writer.full
    assert room.given > 5 << 20
    size = (tmp_path / segment_name(1)).stat().st_size
    assert room.given - writer_module.LAST - 51_000 < size < room.given
    assert writer.lost == {"open": lost}
    room.left = 8 << 20
    assert writer.retry()
    assert writer.append("open", {}) > 0
    writer.append("closed", {})
    writer.close()
    assert verify(tmp_path).records == 1 + 200 - lost + 2


class Refusing:
    """os.write on a disk that takes half of the first thing it is given, and then fails with `error`."""

    def __init__(self, error: int) -> None:
        self.error = error
        self._write = os.write
        self._taken = error == errno.EIO

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.error == 0:
            return self._write(descriptor, data)
        if self._taken:
            raise OSError(self.error, os.strerror(self.error))
        self._taken = True
        return self._write(descriptor, data[: len(data) // 2])


class Room:
    """A disk on which so much can still be allocated."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.given = 0

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        if length > self.left:
            raise OSError(errno.ENOSPC, "full")
        self.left -= length
        self.given += length


def test_segments_are_for_their_owner_only(tmp_path: Path) -> None:
    EvidenceWriter(tmp_path).close()
    assert (tmp_path / segment_name(1)).stat().st_mode & 0o777 == 0o600
