"""What is concluded: plain records, and the one canonical JSON form of a finding and a verdict.

The same finding is the same bytes wherever and whenever it is computed; replay compares nothing else.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from remit.plain import Data, plain

SEVERITIES = ("info", "low", "medium", "high", "critical")
STATES = ("unknown", "attempted", "succeeded")  # in rising order: a finding only ever moves up
VERDICTS = ("record", "freeze", "kill")


class Attribution(Data):
    """How an event is tied to a step, how sure that is, and why.

    `step` is set when there is one answer. With several, it is None and `candidates` has them, best first.
    """

    step: str | None
    attribution: str  # proven | likely | unknown
    reason: str
    candidates: tuple[str, ...] = ()
    birth_step: str | None = None
    steps_in_force: tuple[str, ...] = ()
    phase: str | None = None


class Origin(Data):
    """Who did it (agent, operator, outsider, unknown), why we say so, and what would refute it."""

    who: str
    reasons: tuple[str, ...]
    refuted_by: str


class Sighting(Data):
    """What a detector saw. Sightings with the same behaviour and key are one finding."""

    key: str
    process: str
    state: str
    severity: str
    techniques: tuple[str, ...]
    summary: str
    clause: str | None
    events: tuple[int, ...]  # the record numbers that show it


class Finding(Data):
    """A conclusion. A later record with the same id replaces it: the attempt succeeded, or turned out graver."""

    id: str
    behaviour: str
    severity: str
    state: str
    techniques: tuple[str, ...]
    step: str | None
    phase: str | None
    attribution: str
    reason: str
    candidates: tuple[str, ...]
    origin: Origin
    verdict: str
    clause: str | None
    summary: str
    events: tuple[int, ...]


class Verdict(Data):
    """What is to be done about a finding; at most one for each finding id."""

    finding: str
    behaviour: str
    verdict: str


def finding_bytes(finding: Finding) -> bytes:
    return _canonical({"finding": plain(finding)})


def verdict_bytes(verdict: Verdict) -> bytes:
    return _canonical({"verdict": plain(verdict)})


def at_least(severity: str, threshold: str) -> bool:
    """Whether a severity reaches the threshold."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)


def printable(text: str, longest: int = 200) -> str:
    """Text that an agent controls, safe to show: no control, bidi or invisible characters, and not endless.

    What is taken out leaves a mark, so that nothing vanishes without a trace.
    """
    shown = "".join(letter if _is_plain(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text[:longest])
    return shown + "..." if len(text) > longest else shown


def _is_plain(letter: str) -> bool:
    # Cc control, Cf format (bidi and zero-width), Cs surrogate, Co private use, Cn unassigned, Zl and Zp line breaks.
    return (letter.isascii() and letter.isprintable()) or unicodedata.category(letter) not in _UNSAFE


_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _canonical(value: dict[str, Any]) -> bytes:
    # Key order is the order of the fields above; ASCII only, so that the bytes can be copied into a record.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")
