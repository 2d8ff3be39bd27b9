"""The supervisor's side of the engine: a bell when there is more evidence, and findings and verdicts coming back.

The engine's bytes are appended as they are. Of a verdict only the name of what to do is read.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

from remit.evidence.writer import EvidenceWriter

_LENGTH = struct.Struct("!I")
RING_SECONDS = 0.005  # a verdict may come that much later
_DRAIN_SECONDS = 20.0


class EnginePipe:
    """`doorbell` is written to, `output` is read from; both non-blocking."""

    def __init__(self, doorbell: int, output: int) -> None:
        self.doorbell = doorbell
        self.output = output
        self.severities: list[str] = []
        self._data = bytearray()
        self._rung_at = float("-inf")
        self._owes_ring = False
        self._done = False
        self.lost = False
        os.set_blocking(doorbell, False)
        os.set_blocking(output, False)

    def ring(self, *, at_once: bool = False) -> None:
        """Say that evidence was flushed, or do so soon: each time wakes the engine, which takes CPU from the agent."""
        self._owes_ring = True
        if at_once:
            self._rung_at = float("-inf")
        self.ring_if_due()

    def due_in(self) -> float:
        """Seconds until the next ring is due; infinite when none is owed."""
        return max(0.0, self._rung_at + RING_SECONDS - time.monotonic()) if self._owes_ring else float("inf")

    def ring_if_due(self) -> None:
        """A full pipe already says it."""
        if self.due_in() > 0:
            return
        self._owes_ring, self._rung_at = False, time.monotonic()
        try:
            os.write(self.doorbell, b"\n")
        except (BlockingIOError, BrokenPipeError):
            pass

    def receive(self, writer: EvidenceWriter) -> list[dict[str, Any]] | None:
        """Append what has come and return its verdicts; None when the engine is gone."""
        try:
            data = os.read(self.output, 65536)
        except BlockingIOError:
            return []
        if not data:
            self.lost = True
            return None
        self._data += data
        verdicts = []
        while (message := self._next()) is not None:
            verdict = self._take(writer, message)
            if verdict is not None:
                verdicts.append(verdict)
        return verdicts

    def drain(self, writer: EvidenceWriter) -> None:
        """After the end record: wait for the engine's last word, for a bounded time; losing it is a loss record."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while not self._done and not self.lost and time.monotonic() < deadline:
            if select.select([self.output], [], [], deadline - time.monotonic())[0]:
                self.receive(writer)
        if not self._done:
            writer.append("loss", {"class": "finding", "count": 1, "reason": "the engine did not finish"})

    def _next(self) -> bytes | None:
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if len(self._data) < _LENGTH.size + length:
            return None
        message = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
        del self._data[: _LENGTH.size + length]
        return message

    def _take(self, writer: EvidenceWriter, message: bytes) -> dict[str, Any] | None:
        try:
            content = json.loads(message)
            if "done" in content:
                self._done = True
                return None
            kind = "finding" if "finding" in content and "verdict" not in content else "verdict"
            writer.append_verbatim(kind, message)
        except (ValueError, TypeError, KeyError) as problem:
            writer.append("loss", {"class": "finding", "count": 1, "reason": f"the engine sent rubbish: {problem}"})
            return None
        if kind == "verdict":
            verdict: dict[str, Any] = content["verdict"]
            return verdict
        self.severities.append(str(content["finding"]["severity"]))
        return None
