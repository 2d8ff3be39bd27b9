"""One record is one line, and its hash covers every byte before it and the hash of the record before it.

The format is `docs/records.md`. Writer and reader share this module, so that there is one place that knows how a line
is made. Nothing here interprets a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from remit.digest import sha256
from remit.errors import EvidenceError

FIRST_HASH = "0" * 64  # stands for the hash of the record before the first one
SEGMENT_FORMAT = "segment-{number:06d}.jsonl"

_HASH_PREFIX = b',"hash":"'
_HASH_SUFFIX = b'"}'
_TAIL = len(_HASH_PREFIX) + 64 + len(_HASH_SUFFIX)  # the length of `,"hash":"<64 hex digits>"}`


def encode_record(n: int, body: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """The line of record `n`, with its newline, and its hash. `body` holds time, kind and the rest, in this order.

    A body must not have members `n` or `hash`. ASCII only: what is not UTF-8 stays a lone surrogate escape.
    """
    text = json.dumps({"n": n, **body}, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return _close(text[:-1].encode("ascii"), previous)


def encode_verbatim(n: int, time: int, kind: str, members: bytes, previous: str) -> tuple[bytes, str]:
    """As `encode_record`, with the engine's bytes copied in: `members` is `{"finding":{...}}` or the like.

    Raises ValueError when the bytes could break the line or its last member: the engine is not trusted.
    """
    if not members.isascii() or b"\n" in members or not isinstance(json.loads(members), dict) or len(members) < 3:
        raise ValueError("not one line of an ASCII JSON object")
    start = json.dumps({"n": n, "time": time, "kind": kind}, separators=(",", ":"))
    return _close(start[:-1].encode("ascii") + b"," + members[1:-1], previous)


def chain_hash(previous: str, before: bytes) -> str:
    """The hash of a record: `before` is its line up to the last `,"hash":"`."""
    return sha256(previous.encode("ascii") + before)


def split_line(line: bytes) -> tuple[bytes, str]:
    """The bytes that the hash covers, and the hash that the line claims; raises EvidenceError on another shape."""
    line = line.removesuffix(b"\n")
    before, tail = line[:-_TAIL], line[-_TAIL:]
    if not (before and tail.startswith(_HASH_PREFIX) and tail.endswith(_HASH_SUFFIX)):
        raise EvidenceError("a record does not end with its hash")
    return before, tail[len(_HASH_PREFIX) : -len(_HASH_SUFFIX)].decode("ascii", "replace")


def decode_record(line: bytes) -> dict[str, Any]:
    """The record of one line, hash included but not checked; raises EvidenceError when it is not a record."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise EvidenceError(f"a record is not JSON: {problem}") from problem
    if not isinstance(record, dict) or not isinstance(record.get("n"), int) or not isinstance(record.get("kind"), str):
        raise EvidenceError("a record lacks n or kind")
    return record


def segment_name(number: int) -> str:
    """The file name of a segment: `segment-000001.jsonl` is the first."""
    return SEGMENT_FORMAT.format(number=number)


def _close(before: bytes, previous: str) -> tuple[bytes, str]:
    digest = chain_hash(previous, before)
    return before + _HASH_PREFIX + digest.encode("ascii") + _HASH_SUFFIX + b"\n", digest
