"""Reads beneath a content coding (RFC 9110, 8.4.1), a bounded amount at a time: gzip, also in members, and deflate."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

from remit.clock.model_api import AnswerReader, ToolCall

_STEP = 1 << 18  # bytes that come out at once
_MOST = 256 << 20  # in all: more is a bomb


def decoded(coding: str, data: bytes) -> Iterator[bytes]:
    """The bytes beneath a coding, in pieces. Raises ValueError when there is another coding, or rubbish, or a bomb."""
    decoder = Decoder(coding)
    yield from decoder.feed(data)


class Decoder:
    """One body's coding, fed piece by piece."""

    def __init__(self, coding: str) -> None:
        self._coding = coding.strip().lower()
        self._inflate = self._begin()
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises ValueError when these bytes cannot be read."""
        if self._coding in ("", "identity"):
            yield data
            return
        if self._inflate is None:
            raise ValueError(f"another content coding: {self._coding}")
        try:
            while data:
                if self._inflate.eof:
                    self._inflate = self._begin()
                    assert self._inflate is not None
                piece = self._inflate.decompress(data, _STEP)
                self._size += len(piece)
                if self._size > _MOST:
                    raise ValueError("too much comes out")
                yield piece
                data = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as problem:
            raise ValueError(str(problem)) from problem

    def _begin(self) -> zlib._Decompress | None:
        window = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS}.get(self._coding)
        return None if window is None else zlib.decompressobj(window)


class Decoding:
    """An answer reader beneath a coding; lets other conversations go on while much comes at once."""

    def __init__(self, reader: AnswerReader, coding: str) -> None:
        self._reader = reader
        self._decoder = Decoder(coding)
        self.said = reader.said
        self.unread = False

    @property
    def whole(self) -> bool:
        return self._reader.whole and not self.unread

    @property
    def lacks(self) -> bool:
        """Whether anything up to here could not be read."""
        return self.unread or self._reader.unread

    async def feed(self, data: bytes) -> list[ToolCall]:
        """The calls that these bytes complete."""
        found: list[ToolCall] = []
        if self.unread:
            return found
        try:
            for place, piece in enumerate(self._decoder.feed(data)):
                if place:
                    await asyncio.sleep(0)
                found += self._reader.feed(piece)
        except ValueError:
            self.unread = True
        self.unread = self.unread or self._reader.broken
        return found

    def finish(self) -> list[ToolCall]:
        calls = [] if self.unread else self._reader.finish()
        self.unread = self.unread or self._reader.unread or self._reader.broken
        return calls
