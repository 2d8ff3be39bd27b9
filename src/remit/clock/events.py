"""Splits a stream of server-sent events (WHATWG HTML, 9.2) as it comes in, in pieces of any size.

A line ends with LF, CR LF or CR, an event with an empty line. Takes time in proportion to what comes in.
"""

from __future__ import annotations

import codecs

LONGEST_EVENT = 4 << 20  # characters of its data


class EventSplitter:
    """`broken`: an event was longer than anybody would read."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []
        self._data: list[str] = []
        self._size = 0
        self._after_return = False
        self._begun = False
        self.broken = False

    def feed(self, data: bytes) -> list[str]:
        """The data of each event that these bytes complete."""
        text = self._decode.decode(data)
        if not self._begun and text:
            self._begun, text = True, text.removeprefix("\ufeff")
        if self._after_return and text.startswith("\n"):
            text = text[1:]
        if text:
            self._after_return = text.endswith("\r")
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        found = []
        for line in lines:
            self._line.append(line)
            found += self._end_of_line()
        if rest:
            self._size += len(rest)
            self._line.append(rest)
        self.broken = self.broken or self._size > LONGEST_EVENT
        return found

    def finish(self) -> list[str]:
        """An event that the stream's end cut off, which lenient readers take."""
        return [*self._end_of_line(), *self._end_of_line()]

    def _end_of_line(self) -> list[str]:
        line = "".join(self._line)
        self._line.clear()
        if line:
            if line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
                self._size += len(line)
                self.broken = self.broken or self._size > LONGEST_EVENT
            return []
        event, self._size = "\n".join(self._data), 0
        self._data.clear()
        return [event] if event else []
