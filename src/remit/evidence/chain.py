"""Verifies evidence: every byte is covered by the chain, and the first record that is not what was written is named.

A torn last line is what `kill -9` leaves behind: it is reported and is not damage. Whether the session was closed is
told by its `closed` record, which only the notary's last word follows. Checkpoints are compared with the chain here;
whoever wants their signatures checked passes what does so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remit.errors import EvidenceError
from remit.evidence.record import FIRST_HASH, chain_hash, decode_record, segment_name, split_line

CheckSignature = Callable[[Mapping[str, Any]], str | None]
_AFTER_CLOSED = ("checkpoint", "unsigned")


@dataclass(frozen=True, slots=True)
class Damage:
    """The first thing that is wrong: where it is, and what. `n` is the number the record should have had."""

    segment: str
    line: int
    n: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What the chain says. `whole` is False when anything was changed, removed or put in between."""

    records: int
    segments: int
    head: str  # hash of the last good record; noted elsewhere, it also proves that nothing was cut off the end
    closed: bool
    torn: bool  # the last line was not written to its end
    session: str
    damage: Damage | None
    signed: int  # the last checkpoint covers the records up to this one
    unsigned: int  # records after that, other than the checkpoint itself
    signer: str  # the key that the checkpoints name, or nothing
    noted: int | None  # the record whose hash is the head that was noted elsewhere

    @property
    def whole(self) -> bool:
        return self.damage is None


def verify(
    directory: Path | str, *, check_signature: CheckSignature | None = None, noted_head: str = ""
) -> Verification:
    """Check a whole directory, in memory bounded by one record and 32 bytes for each that is not signed yet."""
    directory = Path(directory)
    numbers = _segment_numbers(directory)
    if not numbers:
        raise EvidenceError(f"no evidence in this directory: {directory}")
    walk = _Walk(check_signature, noted_head)
    last = max(numbers)
    for number in range(1, last + 1):
        name = segment_name(number)
        if number not in numbers:
            walk.damage = Damage(name, 1, walk.records + 1, "segment is missing")
            break
        walk.segments += 1
        if not walk.segment(directory / name, name, last=number == last):
            break
    return Verification(
        walk.records, walk.segments, walk.previous, walk.closed, walk.torn, walk.session, walk.damage,
        walk.signed, walk.records - walk.signed - walk.at_checkpoint, walk.signer, walk.noted,
    )  # fmt: skip


@dataclass(slots=True)
class _Walk:
    """How far the verification has come."""

    check_signature: CheckSignature | None
    noted_head: str
    previous: str = FIRST_HASH
    records: int = 0
    segments: int = 0
    closed: bool = False
    torn: bool = False
    session: str = ""
    damage: Damage | None = None
    signed: int = 0
    signer: str = ""
    at_checkpoint: bool = False  # the last record is a checkpoint that covers all before it
    noted: int | None = None
    heads: bytearray = field(default_factory=bytearray)  # the hashes of the records after `signed`, 32 bytes each

    def segment(self, path: Path, name: str, *, last: bool) -> bool:
        """Check one file; False when damage was found."""
        for line_number, line in enumerate(_lines(path), 1):
            torn = not line.endswith(b"\n")
            if torn and last:
                # Preallocated space that was never written reads as zeros.
                self.torn = bool(line.strip(b"\0"))
                return True
            problem = "line is cut short, and a segment follows" if torn else self._record(line)
            if problem:
                self.damage = Damage(name, line_number, self.records + 1, problem)
                return False
        return True

    def _record(self, line: bytes) -> str | None:
        """Check one line against the chain; returns what is wrong with it."""
        try:
            before, claimed = split_line(line)
            record = decode_record(line)
        except EvidenceError as problem:
            return problem.message
        if record["n"] != self.records + 1:
            return f"record numbers jump: {self.records + 1} was expected and this is {record['n']}"
        digest = chain_hash(self.previous, before)
        if digest != claimed:
            return "hash does not match: this record, or the order of records, was changed"
        if self.records == 0:
            if record["kind"] != "session":
                return "first record is not the session's header"
            self.session = str(record.get("session", ""))
        wrong = self._checkpoint(record) if record["kind"] == "checkpoint" else None
        if wrong:
            return wrong
        self.at_checkpoint = record["kind"] == "checkpoint" and self.signed == self.records
        self.closed = record["kind"] == "closed" or (self.closed and record["kind"] in _AFTER_CLOSED)
        self.previous, self.records = digest, self.records + 1
        self.heads += bytes.fromhex(digest)
        if digest == self.noted_head:
            self.noted = self.records
        return None

    def _checkpoint(self, record: Mapping[str, Any]) -> str | None:
        """Check that a checkpoint says what the chain says, and that it is signed."""
        try:
            checkpoint = record["checkpoint"]
            records, head, key = checkpoint["records"], bytes.fromhex(checkpoint["head"]), str(checkpoint["key"])
            offset = (records - self.signed - 1) * 32
        except (KeyError, TypeError, ValueError):
            return "a checkpoint has the wrong shape"
        if not self.signed < records <= self.records:
            return f"a checkpoint covers records that are not between {self.signed + 1} and {self.records}: {records}"
        if self.heads[offset : offset + 32] != head:
            return f"a checkpoint signs another hash of record {records}"
        problem = self.check_signature(checkpoint) if self.check_signature else None
        if problem is None:
            del self.heads[: offset + 32]
            self.signed, self.signer = records, key
        return problem


def _segment_numbers(directory: Path) -> set[int]:
    try:
        names = os.listdir(directory)
    except OSError as problem:
        raise EvidenceError(f"cannot read the evidence directory {directory}: {problem.strerror}") from problem
    found = {name.removeprefix("segment-").removesuffix(".jsonl") for name in names}
    return {int(text) for text in found if text.isdecimal() and segment_name(int(text)) in names and int(text) > 0}


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as segment:
            yield from segment
    except OSError as problem:
        raise EvidenceError(f"cannot read {path}: {problem.strerror}") from problem
