"""What was flushed is on disk and verifies, whatever happens next; evidence is never put into somebody else's file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from remit.errors import EXIT_BUDGET, EXIT_EVIDENCE, EvidenceError
from remit.evidence import writer as writer_module
from remit.evidence.chain import verify
from remit.evidence.reader import read_records
from remit.evidence.record import segment_name
from remit.evidence.writer import EvidenceWriter


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


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, EXIT_BUDGET), (errno.EIO, EXIT_EVIDENCE)])
def test_a_disk_that_refuses_ends_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    writer = EvidenceWriter(tmp_path)
    writer.append("session", {})

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writer_module.os, "write", refuse)
    with pytest.raises(EvidenceError) as caught:
        writer.flush()
    assert caught.value.exit_status == status


def test_segments_are_for_their_owner_only(tmp_path: Path) -> None:
    EvidenceWriter(tmp_path).close()
    assert (tmp_path / segment_name(1)).stat().st_mode & 0o777 == 0o600
