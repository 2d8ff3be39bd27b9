"""Whatever bytes lie in an evidence directory, reading, verifying, decoding and charging them fails only as documented.

Each input is tried as it is, and again with its records numbered and hashed as the writer would, so that mutation gets
past the chain and into what reads the members.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["remit"]):
    from remit.attribution.steps import Attributor
    from remit.engine.decode import decode
    from remit.errors import EvidenceError
    from remit.evidence.chain import verify
    from remit.evidence.reader import read_records
    from remit.evidence.record import FIRST_HASH, encode_record

SEGMENT_MARK = b"\n\xff\xff\n"  # never in a record: what follows lies in the next segment
DECODING = (KeyError, TypeError, ValueError)  # what the decoder documents; its callers turn them into a loss


def as_directory(data: bytes, directory: Path) -> None:
    for number, part in enumerate(data.split(SEGMENT_MARK)[:4], 1):
        (directory / f"segment-{number:06d}.jsonl").write_bytes(part)


def rechained(data: bytes) -> Iterator[bytes]:
    """The lines of `data` that are JSON objects, as the writer would have written them."""
    previous, n = FIRST_HASH, 0
    for line in data.split(b"\n"):
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(body, dict):
            continue
        body = {name: value for name, value in body.items() if name not in ("n", "hash")}
        try:
            record, previous = encode_record(n + 1, body, previous)
        except (ValueError, RecursionError):  # NaN and infinity are never written
            continue
        n += 1
        yield record


def look_at(directory: Path, *, must_be_whole: bool) -> None:
    try:
        verification = verify(directory)
    except EvidenceError:
        verification = None
    if must_be_whole and verification is not None and verification.damage is not None:
        problem = verification.damage.problem
        if "kind" not in problem and "header" not in problem:
            raise AssertionError(f"the writer's own lines were called damaged: {problem}")
    attributor = Attributor()
    try:
        for record in read_records(directory):
            try:
                event = decode(record)
            except DECODING:
                continue
            if event is not None:
                attributor.observe(event)
    except EvidenceError:
        return


def test_one_input(data: bytes) -> None:
    directory = Path(tempfile.mkdtemp(prefix="remit-fuzz-", dir="/dev/shm"))
    try:
        as_directory(data, directory)
        look_at(directory, must_be_whole=False)
        lines = b"".join(rechained(data))
        if lines:
            shutil.rmtree(directory)
            directory.mkdir()
            as_directory(lines, directory)
            look_at(directory, must_be_whole=True)
    finally:
        shutil.rmtree(directory)


def main() -> None:
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
