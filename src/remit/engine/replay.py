"""Recomputes a session's conclusions from its evidence and compares them with the recorded ones, byte for byte.

Recorded findings and verdicts are never input. When a session was cut off, or the engine was lost and the evidence says
so, what was concluded last was not recorded: then the recorded bytes must be the beginning of the recomputed ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from remit.engine.engine import Engine
from remit.errors import EvidenceError
from remit.evidence.reader import damage_named, read_lines
from remit.evidence.record import decode_record, split_line


@dataclass(frozen=True, slots=True)
class Replay:
    """Both sides, and whether they agree. `difference` is the index of the first message that differs."""

    recorded: tuple[bytes, ...]
    recomputed: tuple[bytes, ...]
    closed: bool
    engine_lost: bool  # the evidence says that the engine did not finish

    @property
    def identical(self) -> bool:
        if self.closed and not self.engine_lost:
            return self.recorded == self.recomputed
        return self.recorded == self.recomputed[: len(self.recorded)]

    @property
    def difference(self) -> int | None:
        if self.identical:
            return None
        pairs = zip(self.recorded, self.recomputed, strict=False)
        return next((index for index, (one, other) in enumerate(pairs) if one != other), self._shorter)

    @property
    def _shorter(self) -> int:
        return min(len(self.recorded), len(self.recomputed))


def replay(directory: Path | str) -> Replay:
    """Run the engine over the evidence of a session, as it ran live."""
    engine: Engine | None = None
    recorded: list[bytes] = []
    recomputed: list[bytes] = []
    ended = closed = engine_lost = False
    for number, line in enumerate(read_lines(directory), 1):
        with damage_named(directory, number):
            record = decode_record(line)
            if engine is None:
                engine = Engine(record)
            elif record["kind"] in ("finding", "verdict"):
                recorded.append(_verbatim(line))
            elif not ended:
                recomputed += engine.feed(record)
                ended = record["kind"] == "end"
            # Only the notary's last word may follow.
            closed = record["kind"] == "closed" or (closed and record["kind"] in ("checkpoint", "unsigned"))
            engine_lost = engine_lost or (record["kind"] == "loss" and record.get("class") == "finding")
    if engine is None:
        raise EvidenceError(f"no records in the evidence directory: {directory}")
    return Replay(tuple(recorded), tuple(recomputed), closed, engine_lost)


def _verbatim(line: bytes) -> bytes:
    """The engine's bytes inside a record: all that follows `kind`, up to the hash."""
    before, _ = split_line(line)
    # `kind` is the third member and n and time are numbers, so the first match is the real one.
    _, _, rest = before.partition(b'"kind":')
    return b"{" + rest.partition(b",")[2] + b"}"
