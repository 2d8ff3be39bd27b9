"""The supervisor's side of the notary: asks for checkpoints as the evidence grows, and appends them as they come.

Without a notary the session goes on: it is said in the evidence, in the report and to the caller, and verification
with a key fails. To end the session would let whoever can hurt the notary end every session.
"""

from __future__ import annotations

import json
import os
import select
import time

from remit.evidence.writer import EvidenceWriter

# A killed session loses at most this much of what was signed.
EVERY_RECORDS = 1000
EVERY_SECONDS = 5.0
_FINISH_SECONDS = 20.0


class NotaryPipe:
    """`heads` is written to, `answers` is read from; both non-blocking. `lost` says why nothing is signed any more."""

    def __init__(self, heads: int, answers: int) -> None:
        self.answers = answers
        self.lost: str | None = None
        self._heads = heads
        self._data = b""
        self._asked = 0  # records that the last request covered
        self._asked_at = float("-inf")
        self._signed = 0
        os.set_blocking(heads, False)
        os.set_blocking(answers, False)

    def flushed(self, writer: EvidenceWriter) -> None:
        """Evidence was written: ask for a checkpoint when one is due, but never for a second one at a time."""
        if self.lost is None and self._signed == self._asked and not writer.full:
            due = writer.count - self._asked >= EVERY_RECORDS or time.monotonic() - self._asked_at >= EVERY_SECONDS
            if due:
                self._ask(writer)

    def receive(self, writer: EvidenceWriter) -> bool:
        """Append what has come; False when nothing more will come."""
        try:
            data = os.read(self.answers, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            self._lose(writer, "the notary died")
        *lines, self._data = (self._data + data).split(b"\n")
        for line in lines:
            self._take(writer, line)
        return self.lost is None

    def finish(self, writer: EvidenceWriter) -> None:
        """After the closing record: have it signed, waiting for a bounded time."""
        deadline = time.monotonic() + _FINISH_SECONDS
        self._wait(writer, deadline)  # what was asked for before is appended first, so that the last covers it
        if self.lost is None:
            writer.flush()
            self._ask(writer)
            self._wait(writer, deadline)

    def dismiss(self) -> None:
        """Let the notary end; there will be nothing more to sign."""
        if self._heads >= 0:
            os.close(self._heads)
            self._heads = -1

    def _wait(self, writer: EvidenceWriter, deadline: float) -> None:
        while self.lost is None and self._signed < self._asked:
            if not select.select([self.answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._lose(writer, "the notary did not answer")
                break
            self.receive(writer)

    def _ask(self, writer: EvidenceWriter) -> None:
        self._asked, self._asked_at = writer.count, time.monotonic()
        try:
            os.write(self._heads, b"%d %s\n" % (writer.count, writer.head.encode("ascii")))
        except (BlockingIOError, BrokenPipeError):
            pass  # its end is seen where its answers come from

    def _take(self, writer: EvidenceWriter, line: bytes) -> None:
        if self.lost is not None:
            return
        try:
            content = json.loads(line)
            if "failed" in content:
                self._lose(writer, str(content["failed"]))
                return
            self._signed = int(content["checkpoint"]["records"])
            writer.append_verbatim("checkpoint", line)
        except (ValueError, TypeError, KeyError) as problem:
            self._lose(writer, f"the notary sent rubbish: {problem}")

    def _lose(self, writer: EvidenceWriter, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
            writer.append("unsigned", {"reason": reason})
