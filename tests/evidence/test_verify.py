"""Verification: whole evidence is whole, each kind of tampering is named, and the verifier in the docs agrees."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from remit.cli import main
from remit.errors import EvidenceError, UsageError
from remit.evidence.chain import verify
from remit.evidence.locate import find_evidence, sessions_root
from remit.evidence.reader import Follower, read_records
from remit.evidence.record import FIRST_HASH, encode_record, encode_verbatim, split_line
from remit.testing import Playbook

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    book = Playbook().step("a", "bash", {"hash": "x", "odd": '","hash":"', "bytes": "\udcff", "line": "\u2028\n"})
    book.spawn("/usr/bin/ssh", "-R", "1:localhost:2", "far", step="a").connect("203.0.113.9:22", refused=True)
    return book.end_step("a").end().write(tmp_path / "evidence", segment_records=3)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier from docs/verify.md, as a reader would save it."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "verify.md").read_text(), re.DOTALL)
    assert len(code) == 2
    assert len(code[0].splitlines()) <= 21
    path = tmp_path_factory.mktemp("docs") / "verify.py"
    path.write_text(code[0])
    return path


def independent(documented: Path, evidence: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, documented, evidence], capture_output=True, text=True, timeout=30)


def segment(evidence: Path, number: int) -> Path:
    return evidence / f"segment-{number:06d}.jsonl"


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new, 1))


def drop_line(path: Path, index: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:index] + lines[index + 1 :]))


def swap_lines(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


def rehash_one(path: Path) -> None:
    """Change the first record and give it a fitting hash; the next record betrays it."""
    lines = path.read_bytes().splitlines(keepends=True)
    before, _ = split_line(lines[0])
    changed = before.replace(b"a-task", b"b-task")
    digest = hashlib.sha256(FIRST_HASH.encode() + changed).hexdigest()
    path.write_bytes(changed + b',"hash":"' + digest.encode() + b'"}\n' + b"".join(lines[1:]))


def test_whole_evidence(evidence: Path, documented: Path) -> None:
    result = verify(evidence)
    assert result.whole
    assert result.closed
    assert not result.torn
    assert result.records == 10
    assert result.segments == 4
    assert result.head == list(read_records(evidence))[-1]["hash"]
    told = independent(documented, evidence)
    assert told.stdout == f"10 records closed {result.head}\n", told.stderr
    assert told.returncode == 0


TAMPERED = {
    "changed": (lambda e: edit(segment(e, 2), b"203.0.113.9", b"203.0.113.8"), 2, 5, "hash does not match"),
    "changed and hashed anew": (lambda e: rehash_one(segment(e, 1)), 1, 2, "hash does not match"),
    "removed": (lambda e: drop_line(segment(e, 2), 0), 2, 4, "record numbers jump"),
    "moved": (lambda e: swap_lines(segment(e, 2)), 2, 4, "record numbers jump"),
    "cut inside": (lambda e: segment(e, 1).write_bytes(segment(e, 1).read_bytes()[:-5]), 1, 3, "cut short"),
    "a segment cut off its end": (lambda e: segment(e, 3).write_bytes(b""), 4, 7, "record numbers jump"),
    "segment missing": (lambda e: segment(e, 2).unlink(), 2, 4, "segment is missing"),
    "first segment missing": (lambda e: segment(e, 1).unlink(), 1, 1, "segment is missing"),
    "garbage": (lambda e: edit(segment(e, 2), b'{"n":4', b'{{n":4'), 2, 4, "is not JSON"),
    "hash removed": (lambda e: edit(segment(e, 2), b'"hash":"', b'"haze":"'), 2, 4, "does not end with its hash"),
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_tampering_is_named(evidence: Path, documented: Path, tampering: str) -> None:
    tamper, number, n, problem = TAMPERED[tampering]
    tamper(evidence)
    result = verify(evidence)
    assert not result.whole
    assert result.damage is not None
    assert (result.damage.segment, result.damage.n) == (segment(evidence, number).name, n)
    assert problem in result.damage.problem
    assert independent(documented, evidence).returncode != 0
    assert main(["verify", str(evidence)]) == 124


def test_a_torn_tail_is_reported_and_is_no_damage(
    evidence: Path, documented: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Cut into the end record; what follows it is gone.
    segment(evidence, 4).unlink()
    last = segment(evidence, 3)
    kept = last.read_bytes().partition(b'"exit_source"')[0]
    last.write_bytes(kept)
    result = verify(evidence)
    assert result.whole
    assert result.torn
    assert not result.closed
    assert main(["verify", "--json", str(evidence)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] is True
    assert told["torn"] is True
    assert told["closed"] is False
    assert " not closed " in independent(documented, evidence).stdout
    follower = Follower(evidence)
    assert len(list(follower.lines())) == result.records
    assert follower.rest.startswith(b'{"n":7')
    follower.close()


def test_preallocated_zeros_are_no_tear(evidence: Path) -> None:
    with segment(evidence, 4).open("ab") as last:
        last.write(b"\0" * 4096)
    assert verify(evidence).whole
    assert not verify(evidence).torn


def test_every_byte_counts(tmp_path: Path) -> None:
    path = segment(Playbook().step("a").write(tmp_path), 1)
    data = path.read_bytes()
    for position in range(0, len(data) - 1, 7):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(bytes(changed))
        assert not verify(tmp_path).whole, position


def test_the_engines_bytes_are_copied_or_refused() -> None:
    line, digest = encode_verbatim(5, 7, "finding", b'{"finding":{"id":"f1"}}', FIRST_HASH)
    assert line == b'{"n":5,"time":7,"kind":"finding","finding":{"id":"f1"},"hash":"' + digest.encode() + b'"}\n'
    assert (line, digest) == encode_record(5, {"time": 7, "kind": "finding", "finding": {"id": "f1"}}, FIRST_HASH)
    for bad in (b"{}", b"[1]", b'{"a":1}\n', b'{"a":1},{"b":2}', '{"a":"\u00e9"}'.encode(), b'{"a":1'):
        with pytest.raises(ValueError):
            encode_verbatim(1, 1, "finding", bad, FIRST_HASH)


def test_evidence_is_found_by_path_id_and_last(
    tmp_path: Path, evidence: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert main(["verify", "last"]) == 2
    assert "hint: remit run" in capsys.readouterr().err
    old = Playbook().write(sessions_root() / "old")
    new = Playbook().wait(1).write(sessions_root() / "new")
    edit(segment(new, 1), b'"time":1', b'"time":2')
    assert find_evidence("last") == new
    assert find_evidence("old") == old
    assert find_evidence(str(evidence)) == evidence
    with pytest.raises(UsageError, match="no such evidence"):
        find_evidence("never")
    # An agent that knows the id of its session can make a directory of that name where a person then asks.
    planted = tmp_path / "workspace" / "old"
    planted.mkdir(parents=True)
    (planted / "segment-000001.jsonl").write_text("{}")
    monkeypatch.chdir(planted.parent)
    assert find_evidence("old") == old
    assert find_evidence("./old") == Path("old")
    (planted.parent / "forged").mkdir()
    with pytest.raises(UsageError, match="no such session: forged"):
        find_evidence("forged")
    with pytest.raises(EvidenceError, match="no evidence in this directory"):
        find_evidence(str(tmp_path))


def test_replay_notices_a_forged_finding(evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(evidence)]) == 0
    assert capsys.readouterr().out == "identical: 2 findings and verdicts\n"
    edit(segment(evidence, 3), b'"severity":"high"', b'"severity":"info"')
    assert main(["replay", "--json", str(evidence)]) == 124
    told = json.loads(capsys.readouterr().out)
    assert told["identical"] is False
    assert told["difference"] == 0


def test_replay_of_a_recording_that_was_cut_off(evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment(evidence, 4).unlink()
    segment(evidence, 3).unlink()
    assert main(["replay", str(evidence)]) == 0
    assert "cut off; 2 more were recomputed" in capsys.readouterr().out
