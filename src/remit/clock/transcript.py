"""The words of a conversation as records of kind `turn`: in full, or as hashes, or none of them, as the scope says.

A record is bounded whatever the conversation is: what the agent and its model write goes into one message to the
supervisor, which takes secrets out of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from remit.clock.said import LONGEST_TEXT, Said
from remit.clock.told import Told
from remit.clock.turns import OUTSIDE
from remit.protocol import Message

_LONGEST_RESULT, _ITS_BEGIN = 16 << 10, 4 << 10  # what a program has come to stands at the end of its output
_LONGEST_RESULTS = 64 << 10


class Transcript:
    """`choice`: full, hashes or none."""

    def __init__(self, choice: str) -> None:
        self._choice = choice
        self.wanted = choice != "none"

    def request(self, caller: str, language: str, told: Told, steps: Mapping[str, str], passed: bytes) -> Message:
        """The record of what was told; `steps` are those of the calls that it brings results of, by call."""
        left, results = _LONGEST_RESULTS, []
        for _, text in told.results:
            kept = _shortened(text, min(left, _LONGEST_RESULT))
            left -= len(kept)
            results.append(self._entry(kept, text))
        return {
            **_turn("request", caller, language, told.model, [steps.get(call, "") for call, _ in told.results]),
            "tools": told.tools,
            "earlier": told.earlier,
            "texts": self._entries(told.texts),
            "results": results,
            **_passed(len(passed), hashlib.sha256(passed).hexdigest()),
        }

    def answer(self, caller: str, language: str, said: Said, steps: Iterable[str], **passed: Any) -> Message:
        """The record of what was said, beside the calls that began these `steps`."""
        entries = self._entries(said.take())
        if said.cut and entries:
            entries[-1]["cut"] = entries[-1].get("cut", 0) + said.cut
        return {
            **_turn("answer", caller, language, said.model, list(steps)),
            "elsewhere": sorted(said.elsewhere),
            "texts": entries,
            **passed,
        }

    def _entries(self, texts: Iterable[str]) -> list[Message]:
        left, found = LONGEST_TEXT, []
        for text in texts:
            kept = text[:left]
            left -= len(kept)
            found.append(self._entry(kept, text))
        return found

    def _entry(self, kept: str, text: str) -> Message:
        if self._choice == "hashes":
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            return {"sha256": digest, "characters": len(text)}
        return {"text": kept, "cut": len(text) - len(kept)} if len(kept) < len(text) else {"text": kept}


class Account:
    """The record of one answer, from what passes. `over`: no more comes."""

    def __init__(self, transcript: Transcript, caller: str, language: str, said: Said, **known: int | None) -> None:
        self._transcript = transcript
        self.caller = caller
        self._language = language
        self._said = said
        self._known = known
        self._digest = hashlib.sha256()
        self._size = 0
        self._steps: list[str] = []
        self._given = False
        self.over = False

    def passed(self, piece: bytes) -> None:
        if self._transcript.wanted:
            self._digest.update(piece)
            self._size += len(piece)

    def began(self, marks: Iterable[Message]) -> None:
        """The answer's calls have begun these steps."""
        self._steps += [mark["step"] for mark in marks if mark["mark"] == "begin"]

    @property
    def due(self) -> bool:
        """Whether it is to be recorded now: once, and again if it says something after it seemed to have ended."""
        if not self._transcript.wanted:
            return False
        return (self._said.has_more and self.over) if self._given else (self.over or self._said.ended)

    def message(self) -> Message:
        self._given = True
        steps, self._steps = self._steps, []
        passed = _passed(self._size, self._digest.hexdigest())
        return self._transcript.answer(self.caller, self._language, self._said, steps, **self._known, **passed)


def _turn(mark: str, caller: str, language: str, model: str, steps: list[str]) -> Message:
    whose = None if caller == OUTSIDE else caller
    return {"do": "turn", "mark": mark, "caller": whose, "language": language, "model": model, "steps": steps}


def _passed(size: int, digest: str) -> Message:
    return {"bytes": size, "sha256": digest}


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    begin = min(_ITS_BEGIN, longest // 2)
    return text[:begin] + text[len(text) - (longest - begin) :]
