"""Runs the engine over evidence that is still growing; sleeps only in a read of the doorbell, and never polls.

Runs in a child without privilege: a directory to read, a doorbell to wait on, a pipe to speak to. Each message on the
pipe is a four-byte big-endian length and that many bytes of JSON.
"""

from __future__ import annotations

import json
import os

from remit.engine.engine import Engine
from remit.evidence.reader import Follower
from remit.evidence.record import decode_record

LENGTH_BYTES = 4


def follow(directory: int | str, doorbell: int, output: int) -> bool:
    """Conclude from a session until its `end` record; returns whether the end was seen.

    One byte on the doorbell means that something was flushed; its end means that the supervisor is gone.
    """
    follower = Follower(directory)
    engine: Engine | None = None
    supervised = True
    while True:
        for line in follower.lines():
            record = decode_record(line)
            if engine is None:
                engine = Engine(record)
                continue
            for message in engine.feed(record):
                if not _send(output, message):
                    return False
            if record["kind"] == "end":
                done = {"done": {"findings": engine.findings}}
                return _send(output, json.dumps(done, separators=(",", ":")).encode("ascii"))
        if not supervised:
            return False
        # On EOF one more round reads what was flushed before the supervisor went.
        supervised = bool(os.read(doorbell, 1 << 16))


def frame(message: bytes) -> bytes:
    """A message as it goes over the pipe."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def _send(output: int, message: bytes) -> bool:
    """Write one whole message; False when nobody listens any more."""
    rest = frame(message)
    try:
        while rest:
            rest = rest[os.write(output, rest) :]
    except BrokenPipeError:
        return False
    return True
