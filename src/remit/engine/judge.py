"""Turns what detectors saw into findings, and findings into verdicts, once each.

A finding is one behaviour and one key (the program, within its step). Seeing it again says nothing new. Seeing it
succeed, or graver, writes the finding again under the same id with all events so far. The verdict that the scope
configured for the behaviour is given once for each id, to attempts and successes alike, as soon as the finding is at
least of medium severity; a weaker finding, or a detector that failed, is only recorded.
"""

from __future__ import annotations

from collections.abc import Mapping

from remit.findings import (
    SEVERITIES,
    STATES,
    VERDICTS,
    Attribution,
    Finding,
    Origin,
    Sighting,
    Verdict,
    at_least,
    finding_bytes,
    verdict_bytes,
)

JUDGED_FROM = "medium"
MOST_EVENTS = 32  # shown for each finding; the first ones tell the story


class Judge:
    """Remembers the findings so far and which of them were judged."""

    def __init__(self, respond: Mapping[str, str]) -> None:
        self.respond = respond
        self._findings: dict[tuple[str, str], Finding] = {}
        self._judged: dict[str, str] = {}

    @property
    def count(self) -> int:
        return len(self._findings)

    def conclude(
        self, behaviour: str, sighting: Sighting, attribution: Attribution, origin: Origin
    ) -> tuple[bytes, ...]:
        """The finding and the verdict that follow from a sighting, as bytes; nothing when it is known already."""
        key = (behaviour, sighting.key)
        old = self._findings.get(key)
        if old is None:
            new = self._first(behaviour, sighting, attribution, origin)
        else:
            new = _merge(old, sighting)
            if (new.state, new.severity) == (old.state, old.severity):
                return ()
            new = new._replace(verdict=self._verdict(behaviour, new.severity, new.state))
        self._findings[key] = new
        return (finding_bytes(new), *self._judge(new))

    def _first(self, behaviour: str, sighting: Sighting, attribution: Attribution, origin: Origin) -> Finding:
        return Finding(
            id=f"f{len(self._findings) + 1}",
            behaviour=behaviour,
            severity=sighting.severity,
            state=sighting.state,
            techniques=sighting.techniques,
            step=attribution.step,
            phase=attribution.phase,
            attribution=attribution.attribution,
            reason=attribution.reason,
            candidates=attribution.candidates,
            origin=origin,
            verdict=self._verdict(behaviour, sighting.severity, sighting.state),
            clause=sighting.clause,
            summary=sighting.summary,
            events=sighting.events[:MOST_EVENTS],
        )

    def _verdict(self, behaviour: str, severity: str, state: str) -> str:
        configured = self.respond.get(behaviour, "record")
        if state == "unknown" or not at_least(severity, JUDGED_FROM) or configured not in VERDICTS:
            return "record"
        return configured

    def _judge(self, finding: Finding) -> tuple[bytes, ...]:
        given = self._judged.get(finding.id)
        # A weak finding that turned out grave gets the verdict it would have got at once.
        if given is not None and not (given == "record" and finding.verdict != "record"):
            return ()
        self._judged[finding.id] = finding.verdict
        return (verdict_bytes(Verdict(finding.id, finding.behaviour, finding.verdict)),)


def _merge(old: Finding, sighting: Sighting) -> Finding:
    state = max(old.state, sighting.state, key=STATES.index)
    severity = max(old.severity, sighting.severity, key=SEVERITIES.index)
    risen = (state, severity) != (old.state, old.severity)
    events = tuple(dict.fromkeys((*old.events, *sighting.events)))[:MOST_EVENTS]
    return old._replace(
        state=state,
        severity=severity,
        summary=sighting.summary if risen else old.summary,
        clause=sighting.clause or old.clause,
        events=events,
    )
