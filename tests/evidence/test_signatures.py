"""Checkpoints vouch for what they cover: a signature that is wrong, another's, repeated or missing is named."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from remit.cli import main
from remit.errors import EvidenceError, UsageError
from remit.evidence.chain import Verification, verify
from remit.evidence.checkpoint import checkpoint_members, signed_text
from remit.evidence.keys import load_private_key, public_pem, raw_public_key, read_or_make_key, read_public_key
from remit.evidence.notary import serve
from remit.evidence.record import FIRST_HASH, encode_record, encode_verbatim, segment_name
from remit.evidence.signatures import Signatures
from remit.evidence.writer import EvidenceWriter
from remit.supervisor.notary_pipe import EVERY_RECORDS, NotaryPipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def private(tmp_path: Path) -> Ed25519PrivateKey:
    return load_private_key(read_or_make_key(str(tmp_path / "notary" / "key.pem")))


@pytest.fixture
def public(tmp_path: Path, private: Ed25519PrivateKey) -> Path:
    path = tmp_path / "notary.pub.pem"
    path.write_text(public_pem(private))
    return path


@pytest.fixture
def pipes(tmp_path: Path, private: Ed25519PrivateKey) -> Iterator[NotaryPipe]:
    """A notary that runs in a thread."""
    heads_reader, heads = os.pipe()
    answers, answers_writer = os.pipe()

    def notary() -> None:
        serve((tmp_path / "notary" / "key.pem").read_bytes(), heads_reader, answers_writer)
        os.close(answers_writer)

    thread = threading.Thread(target=notary)
    thread.start()
    pipe = NotaryPipe(heads, answers)
    yield pipe
    pipe.dismiss()
    thread.join(10)
    os.close(answers)
    os.close(heads_reader)


@pytest.fixture
def evidence(tmp_path: Path, pipes: NotaryPipe) -> Path:
    directory = tmp_path / "evidence"
    directory.mkdir()
    writer = EvidenceWriter(directory)
    writer.append("session", {"session": "s"})
    for number in range(2 * EVERY_RECORDS):
        writer.append("open", {"path": f"/work/{number}"})
        if writer.flush():
            pipes.flushed(writer)
        pipes.receive(writer)
    writer.append("closed", {"findings": 0})
    writer.flush()
    pipes.finish(writer)
    writer.close()
    return directory


def checked(evidence: Path, public: Path | None = None) -> Verification:
    pinned = None if public is None else read_public_key(public)
    return verify(evidence, check_signature=Signatures(pinned).problem)


def lines(evidence: Path) -> list[bytes]:
    return (evidence / segment_name(1)).read_bytes().splitlines(keepends=True)


def rewritten(evidence: Path, bodies: list[dict[str, Any]]) -> None:
    """What somebody with the directory and without the key can do: a new chain over whatever he likes."""
    previous, made = FIRST_HASH, []
    for number, body in enumerate(bodies, 1):
        line, previous = encode_record(number, {k: v for k, v in body.items() if k not in ("n", "hash")}, previous)
        made.append(line)
    (evidence / segment_name(1)).write_bytes(b"".join(made))


def test_every_record_of_a_closed_session_is_vouched_for(evidence: Path, public: Path) -> None:
    kinds = [json.loads(line)["kind"] for line in lines(evidence)]
    closed = kinds.index("closed")
    assert set(kinds[closed + 1 :]) == {"checkpoint"}  # one asked for before the close may come after it, then the last
    assert kinds.count("checkpoint") >= 3  # at once, after so many records, and at the close
    result = checked(evidence, public)
    assert result.whole
    assert result.closed
    assert (result.signed, result.unsigned) == (len(kinds) - 1, 0)
    assert bytes.fromhex(result.signer) == read_public_key(public)


def test_the_command_tells_signed_from_signer_unknown(
    evidence: Path, public: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(evidence)]) == 0
    assert "consistent, signer unknown" in capsys.readouterr().out
    assert main(["verify", "--key", str(public), str(evidence)]) == 0
    assert "\nsigned by this key\n" in capsys.readouterr().out
    other = tmp_path / "other.pem"
    other.write_text(public_pem(Ed25519PrivateKey.generate()))
    assert main(["verify", "--json", "--key", str(other), str(evidence)]) == 124
    told = json.loads(capsys.readouterr().out)
    assert told["verified"] is False
    assert "signed by another key" in told["damage"]["problem"]


def test_a_tail_that_nobody_signed_is_not_closed(
    evidence: Path, public: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = lines(evidence)
    (evidence / segment_name(1)).write_bytes(b"".join(whole[:-1]))
    assert main(["verify", "--json", "--key", str(public), str(evidence)]) == 124
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] is True
    assert told["unsigned"] > 0
    assert told["problems"][0].startswith("not closed: the key vouches for the first ")
    assert main(["verify", str(evidence)]) == 0


def test_evidence_without_any_checkpoint_is_not_signed(evidence: Path, public: Path) -> None:
    kept = [body for line in lines(evidence) if (body := json.loads(line))["kind"] != "checkpoint"]
    rewritten(evidence, kept)
    assert checked(evidence, public).whole
    assert checked(evidence, public).signed == 0
    assert main(["verify", "--key", str(public), str(evidence)]) == 124


FORGERIES: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "a record changed": (lambda bodies: bodies[1].update(path="/elsewhere"), "a checkpoint "),
    "a record dropped": (lambda bodies: bodies.pop(4), "a checkpoint "),
    "two records swapped": (lambda bodies: bodies.insert(6, bodies.pop(7)), "a checkpoint "),
    "a record repeated": (lambda bodies: bodies.insert(5, bodies[4]), "a checkpoint "),
    "a signature changed": (
        lambda bodies: bodies[-1]["checkpoint"].update(signature="00" * 64),
        "signature does not fit",
    ),
    "a signature cut": (lambda bodies: bodies[-1]["checkpoint"].update(signature="00"), "signature does not fit"),
    "a checkpoint repeated": (lambda bodies: bodies.append(bodies[-1]), "covers records that are not between"),
    "a checkpoint of the future": (lambda bodies: bodies[-1]["checkpoint"].update(records=10**9), "not between"),
    "a checkpoint of nothing": (lambda bodies: bodies[-1].update(checkpoint=None), "wrong shape"),
    "a checkpoint with text": (lambda bodies: bodies[-1]["checkpoint"].update(records="7"), "wrong shape"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_new_chain_does_not_fit_the_signatures(evidence: Path, forgery: str) -> None:
    forge, problem = FORGERIES[forgery]
    bodies = [json.loads(line) for line in lines(evidence)]
    forge(bodies)
    rewritten(evidence, bodies)
    damage = checked(evidence).damage
    assert damage is not None
    assert problem in damage.problem
    assert json.loads(lines(evidence)[damage.n - 1])["kind"] == "checkpoint"


def test_a_second_signer_is_named_without_a_key(evidence: Path) -> None:
    forger = Ed25519PrivateKey.generate()
    last = json.loads(lines(evidence)[-1])
    text = signed_text(last["n"], last["hash"])
    members = checkpoint_members(last["n"], last["hash"], raw_public_key(forger), forger.sign(text))
    line, _ = encode_verbatim(last["n"] + 1, 7, "checkpoint", members, last["hash"])
    with (evidence / segment_name(1)).open("ab") as segment:
        segment.write(line)
    damage = checked(evidence).damage
    assert damage is not None
    assert "another key than the checkpoint before" in damage.problem


def test_a_cut_is_found_against_a_noted_head(evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = lines(evidence)
    head, middle = json.loads(whole[-1])["hash"], json.loads(whole[40])["hash"]
    assert main(["verify", "--head", head, str(evidence)]) == 0
    assert main(["verify", "--json", "--head", middle.upper(), str(evidence)]) == 0
    capsys.readouterr()
    assert main(["verify", "--json", "--head", middle, str(evidence)]) == 0
    assert json.loads(capsys.readouterr().out)["noted_head_at"] == 41
    (evidence / segment_name(1)).write_bytes(b"".join(whole[:50]))
    assert main(["verify", "--head", head, str(evidence)]) == 124
    assert "cut off or replaced" in capsys.readouterr().out
    assert main(["verify", "--head", middle, str(evidence)]) == 0
    assert main(["verify", "--head", "abc", str(evidence)]) == 2


def test_the_documented_check_agrees(evidence: Path, public: Path, tmp_path: Path) -> None:
    (_, code) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "verify.md").read_text(), re.DOTALL)

    def told() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(evidence), str(public)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    whole = lines(evidence)
    assert told().stdout == f"signed up to record {len(whole) - 1} of {len(whole)}\n", told().stderr
    bodies = [json.loads(line) for line in whole]
    bodies[1]["path"] = "/elsewhere"
    rewritten(evidence, bodies)
    assert "is of other evidence" in told().stderr
    (evidence / segment_name(1)).write_bytes(b"".join(whole))
    public.write_text(public_pem(Ed25519PrivateKey.generate()))
    assert "InvalidSignature" in told().stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_other_programs_read_the_key_and_check_the_signature(evidence: Path, public: Path, tmp_path: Path) -> None:
    checkpoint = json.loads(lines(evidence)[-1])["checkpoint"]
    (tmp_path / "text").write_bytes(signed_text(checkpoint["records"], checkpoint["head"]))
    (tmp_path / "signature").write_bytes(bytes.fromhex(checkpoint["signature"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", tmp_path / "text"]
    done = subprocess.run([*command, "-sigfile", tmp_path / "signature"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key.pem"
    made = read_or_make_key(str(path))
    assert read_or_make_key(str(path)) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]
    path.chmod(0o640)
    with pytest.raises(EvidenceError, match="closed to others"):
        read_or_make_key(str(path))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvidenceError, match="cannot read or make"):
        read_or_make_key(str(path))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_a_key_of_ones_own_is_read(form: PrivateFormat) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
    if form is PrivateFormat.PKCS8:
        assert raw_public_key(load_private_key(pem)) == raw_public_key(key)
        assert raw_public_key(load_private_key(b"# a remark\n" + pem)) == raw_public_key(key)
    else:
        with pytest.raises(EvidenceError, match="not a private key in PEM"):
            load_private_key(pem)
    for wrong in (pem[:40], b"", b"-----BEGIN PRIVATE KEY-----\n====\n", b"-----BEGIN PRIVATE KEY-----"):
        with pytest.raises(EvidenceError):
            load_private_key(wrong)


def test_the_public_key_is_printed_and_the_private_one_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code = "from remit.cli import main; raise SystemExit(main(['key']))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    public = tmp_path / "public.pem"
    public.write_text(printed.stdout)
    private = tmp_path / "remit" / "notary" / "key.pem"
    assert read_public_key(public) == raw_public_key(load_private_key(private.read_bytes()))
    # Nothing is said about the evidence, so it is not 124.
    for wrong in (private, tmp_path / "nothing", tmp_path, Path(__file__)):
        assert main(["verify", "--key", str(wrong), str(tmp_path)]) == 2
        with pytest.raises(UsageError) as caught:
            read_public_key(wrong)
        assert caught.value.hint


def test_the_notary_signs_nothing_but_heads(private: Ed25519PrivateKey, tmp_path: Path) -> None:
    pem = (tmp_path / "notary" / "key.pem").read_bytes()
    for rubbish in (b"hello\n", b"0 " + b"0" * 64 + b"\n", b"1 " + b"G" * 64 + b"\n", b"-1 " + b"0" * 64 + b"\n"):
        reader, writer = os.pipe()
        os.write(writer, rubbish)
        os.close(writer)
        with pytest.raises(ValueError, match="not a checkpoint"):
            serve(pem, reader, -1)
        os.close(reader)
    with pytest.raises(EvidenceError):
        serve(b"no key", -1, -1)
