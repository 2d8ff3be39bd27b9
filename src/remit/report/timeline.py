"""Walks the evidence once and gathers what a report needs, with every act charged to its step.

Nothing but the evidence is read. Memory is bounded by the number of steps, findings and different denials.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remit.attribution.deeds import Deeds
from remit.attribution.steps import Attributor
from remit.engine.decode import decode
from remit.errors import EvidenceError
from remit.events import (
    AttemptResult,
    Attempts,
    Call,
    Change,
    Claim,
    Connect,
    End,
    Event,
    Exec,
    Flow,
    Loss,
    Open,
    ProcessEvent,
    Step,
    Turn,
)
from remit.evidence.reader import damage_named, read_records
from remit.findings import Attribution
from remit.plain import plain
from remit.report.claimed import ClaimList
from remit.report.words import socket_in_words

SECOND = 1_000_000_000
_LONGEST_SAID = 1000  # characters of what the model said before a step; the rest is in the evidence


@dataclass(slots=True)
class StepLine:
    """One step: when, what was lost in it, how much happened, and what it left running."""

    id: str
    tool: str
    arguments: Any
    phase: str | None
    began: int
    ended: int | None = None
    lost: int = 0
    event_count: int = 0
    left_running: list[dict[str, str]] = field(default_factory=list)
    declared: dict[str, Any] | None = None  # what its arguments say that it will do
    said: str = ""  # by the model, with the call or before it


@dataclass(slots=True)
class PhaseLine:
    """One stretch of the session in a phase, and what it left running. survivors: whether that was kept or ended."""

    name: str
    began: int
    ended: int | None = None
    survivors: str | None = None
    left_running: list[dict[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Denial:
    """A refused act; the same act again only counts."""

    id: str
    time: int
    process: str
    program: str
    operation: str
    object: str
    wall: str | None
    errno: int
    clause: str | None
    attribution: Attribution
    count: int = 1


@dataclass(slots=True)
class Timeline:
    """Everything that happened, in the order of the evidence."""

    header: dict[str, Any]
    attempts: tuple[AttemptResult, ...] = ()
    steps: dict[str, StepLine] = field(default_factory=dict)
    phases: list[PhaseLine] = field(default_factory=list)
    denials: dict[tuple[object, ...], Denial] = field(default_factory=dict)
    observed: dict[tuple[object, ...], Denial] = field(default_factory=dict)  # let through, only to be observed
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    finding_times: dict[str, int] = field(default_factory=dict)
    responses: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    routine: int = 0  # refused writes of processes to harmless entries of their own in /proc
    lost_outside: int = 0  # fell while no step was in force
    end: dict[str, Any] | None = None
    last_time: int = 0
    left_running: list[dict[str, str]] = field(default_factory=list)
    left_behind: list[dict[str, str]] = field(default_factory=list)
    left_unseen: int = 0  # trees that were too many to look at
    redacted: dict[str, int] = field(default_factory=dict)
    deeds: Deeds = field(default_factory=Deeds)
    said: str = ""  # by the model, with no step after it
    claims: ClaimList = field(default_factory=ClaimList)
    unsigned: str | None = None  # why the notary signed no more


def build_timeline(directory: Path | str) -> Timeline:
    """The timeline of one session; raises EvidenceError when it does not begin with a header."""
    records = read_records(directory)
    header = next(records, None)
    if header is None or header["kind"] != "session":
        raise EvidenceError(
            f"evidence does not begin with a session's header: {directory}", hint=f"remit verify {directory}"
        )
    timeline = Timeline(header, counts={"session": 1}, last_time=header["time"])
    _count_redacted(timeline, header)
    attributor = Attributor()
    for number, record in enumerate(records, 2):
        with damage_named(directory, number):
            _read(timeline, attributor, record)
    return timeline


def _read(timeline: Timeline, attributor: Attributor, record: dict[str, Any]) -> None:
    kind = record["kind"]
    timeline.counts[kind] = timeline.counts.get(kind, 0) + 1
    timeline.last_time = record["time"]
    _count_redacted(timeline, record)
    if kind == "finding":
        finding = record["finding"]
        timeline.findings[finding["id"]] = finding
        timeline.finding_times.setdefault(finding["id"], record["time"])
    elif kind == "response":
        timeline.responses.append(record)
    elif kind == "persistence":
        timeline.left_behind += record["left"]
        timeline.left_unseen += int(record.get("trees_not_looked_at") or 0)
    elif kind == "phase":
        _phase(timeline, attributor, record)
    elif kind == "end":
        timeline.end = record
        if timeline.phases and timeline.phases[-1].ended is None:
            timeline.phases[-1].ended = record["time"]
    elif kind == "unsigned":
        timeline.unsigned = record["reason"]
    event = decode(record)
    if event is not None:
        _take(timeline, attributor, event)


def rfc3339(nanoseconds: int) -> str:
    """A time as RFC 3339 with nanoseconds, in UTC."""
    moment = datetime.fromtimestamp(nanoseconds // SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % SECOND:09d}Z"


def _count_redacted(timeline: Timeline, record: dict[str, Any]) -> None:
    for rule, count in record.get("redacted", {}).items():
        timeline.redacted[rule] = timeline.redacted.get(rule, 0) + count


def _take(timeline: Timeline, attributor: Attributor, event: Event) -> None:
    attribution = attributor.observe(event)
    match event:
        case Attempts():
            timeline.attempts = event.results
        case Step(mark="begin"):
            step = StepLine(event.step, event.tool, event.arguments, event.phase, event.time)
            timeline.steps[event.step] = step
            step.declared = plain(event.declared)
            if event.source == "sdk":
                step.said, timeline.said = timeline.said, ""
        case Step() if event.step in timeline.steps:
            step = timeline.steps[event.step]
            step.ended = event.time
            step.left_running = [
                named for process in event.left_running if (named := _of_step(attributor, process, event.step))
            ]
        case Turn(mark="answer"):
            _said(timeline, event)
        case Claim():
            timeline.claims.take(event, attributor)
        case Loss():
            timeline.lost[event.loss_class] = timeline.lost.get(event.loss_class, 0) + event.dropped
            # A claim that was not taken down is nothing that happened, and a flood of them hurts no step.
            within = () if event.loss_class == "claim" else attributor.in_force
            steps = within if event.steps is None else event.steps
            for name in steps:
                if name in timeline.steps:
                    timeline.steps[name].lost += event.dropped
            if not steps:
                timeline.lost_outside += event.dropped
        case End():
            timeline.left_running = [_named(attributor, process) for process in event.left_running]
    if attribution is not None and isinstance(event, ProcessEvent):
        charged = timeline.steps.get(attribution.step or "")
        if charged is not None:
            charged.event_count += 1
        timeline.deeds.feed(event, attribution)
        timeline.claims.charge(attribution.candidates)
        if not isinstance(event, Exec | Open | Change | Connect | Flow | Call):
            return
        if isinstance(event, Open) and event.routine:
            timeline.routine += 1
        elif event.refused:
            _deny(timeline.denials, "d", attributor, event, attribution)
        elif not isinstance(event, Flow) and event.observed:
            _deny(timeline.observed, "o", attributor, event, attribution)


def _phase(timeline: Timeline, attributor: Attributor, record: dict[str, Any]) -> None:
    if record["mark"] == "begin":
        timeline.phases.append(PhaseLine(record["phase"], record["time"]))
        return
    phase = next((phase for phase in reversed(timeline.phases) if phase.name == record["phase"]), None)
    if phase is None:
        return
    if record["mark"] == "end":
        phase.ended, phase.survivors = record["time"], record["survivors"]
    phase.left_running += [_named(attributor, process) for process in record["left_running"]]


def _said(timeline: Timeline, turn: Turn) -> None:
    """A gateway's answers name the steps that they began; a harness gives the words first, and then begins steps."""
    text = turn.text[:_LONGEST_SAID]
    steps = [timeline.steps[step] for step in turn.steps if step in timeline.steps]
    for step in steps:
        step.said = text
    if steps:
        timeline.said = ""
    elif text and turn.tools != 0:  # a side question of the harness's, such as for a title, has no tools
        timeline.said = text


def _deny(
    denials: dict[tuple[object, ...], Denial],
    letter: str,
    attributor: Attributor,
    event: Exec | Open | Change | Connect | Flow | Call,
    attribution: Attribution,
) -> None:
    process = attributor.lineage.get(event.process)
    program = process.image if process else ""
    operation, subject = _act(event)
    wall = "execute" if isinstance(event, Exec) else event.wall
    key = (program, operation, subject, wall, event.errno, attribution.step, attribution.attribution, event.clause)
    known = denials.get(key)
    if known is not None:
        known.count += 1
        return
    name = f"{letter}{len(denials) + 1}"
    denials[key] = Denial(
        name, event.time, event.process, program, operation, subject, wall, event.errno, event.clause, attribution
    )


def _act(event: Exec | Open | Change | Connect | Flow | Call) -> tuple[str, str]:
    """The operation and its object, in the words of a denial."""
    match event:
        case Exec():
            return "exec", event.uncovered or event.image
        case Open():
            return "open", event.path
        case Change():
            return event.operation, f"{event.source} -> {event.path}" if event.source else event.path
        case Connect():
            place = event.address if event.family == "unix" else f"{event.address}:{event.port}"
            return event.operation, place
        case Flow():
            return event.operation, socket_in_words(event)
        case Call():
            return event.operation, event.target or ""


def _of_step(attributor: Attributor, process: str, step: str) -> dict[str, str] | None:
    """A process that still runs, when it belongs to this step."""
    attribution = attributor.of(process)
    if step not in (attribution.step, attribution.birth_step):
        return None
    return _named(attributor, process)


def _named(attributor: Attributor, process: str) -> dict[str, str]:
    found = attributor.lineage.get(process)
    return {"process": process, "image": found.image if found else ""}
