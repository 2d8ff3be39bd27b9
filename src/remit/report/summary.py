"""The report of one session as plain data (schema_version 1), from its evidence and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remit.claims import CLAIMED
from remit.report.claimed import ClaimLine
from remit.report.timeline import Denial, PhaseLine, StepLine, Timeline, build_timeline, rfc3339

SCHEMA_VERSION = 1


def build_report(directory: Path | str, *, running: bool = False) -> dict[str, Any]:
    """The report of the session whose evidence lies in `directory`; evidence does not tell whether it is `running`."""
    timeline = build_timeline(directory)
    header = timeline.header
    return {
        "schema_version": SCHEMA_VERSION,
        "session": {**_session(timeline), "running": running and timeline.end is None},
        "attempts": [
            {"name": a.name, "wall": a.wall, "result": a.result, "reason": a.reason, "gap": a.gap}
            for a in timeline.attempts
        ],
        "walls": [_wall(wall, timeline) for wall in header.get("walls", ())],
        "gaps": _gaps(timeline),
        "phases": [_phase(phase) for phase in timeline.phases],
        "steps": [_step(step, timeline) for step in timeline.steps.values()],
        "said_last": timeline.said,
        "claims": [_claim(claim, timeline) for claim in timeline.claims.lines.values()],
        "claims_not_listed": timeline.claims.unlisted,
        "denials": [_denial(denial) for denial in timeline.denials.values()],
        "observed": [_denial(act) for act in timeline.observed.values()],
        "routine_refusals": timeline.routine,
        "findings": [
            {"time": rfc3339(timeline.finding_times[name]), **finding} for name, finding in timeline.findings.items()
        ],
        "responses": [
            {
                "time": rfc3339(response["time"]),
                **{
                    name: response.get(name)
                    for name in ("finding", "verdict", "by", "processes", "clause", "tasks_refused")
                },
            }
            for response in timeline.responses
        ],
        "left_running": timeline.left_running,
        "left_behind": [
            {name: item.get(name) for name in ("path", "class", "change", "detail")} for item in timeline.left_behind
        ],
        "left_behind_not_looked_at": timeline.left_unseen,
        "counts": dict(sorted(timeline.counts.items())),
        "lost": dict(sorted(timeline.lost.items())),
        "redacted": dict(sorted(timeline.redacted.items())),
    }


def _wall(wall: dict[str, Any], timeline: Timeline) -> dict[str, Any]:
    """A wall is held when the attempts on it were, and at least one was made; null when none was. One that is only
    observed is not held, whatever stood beside it."""
    results = [attempt.result for attempt in timeline.attempts if attempt.wall == wall.get("name")]
    tried = [result for result in results if result != "skipped"]
    held = all(result == "held" for result in tried) if tried else None
    if wall.get("held") is False:
        held = False
    return {"name": wall.get("name"), "strength": wall.get("strength"), "held": held}


def _session(timeline: Timeline) -> dict[str, Any]:
    header, end = timeline.header, timeline.end or {}
    return {
        "id": header.get("session"),
        "task": header.get("task"),
        "purpose": header.get("purpose"),
        "tier": header.get("tier"),
        "sight": header.get("sight"),
        "observe": bool(header.get("observe")),
        "labels": header.get("labels") or {},
        "arguments": header.get("arguments") or [],
        "workspace": header.get("workspace"),
        "status": end.get("status"),
        "exit_source": end.get("exit_source"),
        "ended_by": end.get("ended_by"),
        "began": rfc3339(header["time"]),
        "ended": rfc3339(end["time"]) if end else None,
        "closed": "closed" in timeline.counts,
    }


def _gaps(timeline: Timeline) -> list[dict[str, Any]]:
    found = [
        {name: gap.get(name) for name in ("name", "kind", "accepted", "reason")}
        for gap in timeline.header.get("gaps", ())
    ]
    if timeline.unsigned is not None:
        reason = f"nothing vouches for the evidence to its end: {timeline.unsigned}"
        found.append({"name": "evidence-unsigned", "kind": "sight", "accepted": False, "reason": reason})
    return found


def _state(step: StepLine, timeline: Timeline) -> str:
    """out-of-scope with a finding or an act that was, or would have been, refused; unknown when one may be its own,
    or events were lost."""
    acts = [*timeline.denials.values(), *timeline.observed.values()]
    wrong: set[str | None] = {act.attribution.step for act in acts}
    wrong |= {finding["step"] for finding in timeline.findings.values() if finding["state"] != "unknown"}
    if step.id in wrong:
        return "out-of-scope"
    suspected: set[str | None] = set()
    for act in acts:
        suspected |= set(act.attribution.candidates)
    for finding in timeline.findings.values():
        suspected |= {finding["step"], *finding["candidates"]}
    return "unknown" if step.lost or step.id in suspected else "in-scope"


def _phase(phase: PhaseLine) -> dict[str, Any]:
    return {
        "name": phase.name,
        "began": rfc3339(phase.began),
        "ended": rfc3339(phase.ended) if phase.ended is not None else None,
        "survivors": phase.survivors,
        "left_running": phase.left_running,
    }


def _step(step: StepLine, timeline: Timeline) -> dict[str, Any]:
    return {
        "id": step.id,
        "tool": step.tool,
        "arguments": step.arguments,
        "phase": step.phase,
        "began": rfc3339(step.began),
        "ended": rfc3339(step.ended) if step.ended is not None else None,
        "state": _state(step, timeline),
        "said": step.said,
        "declared": step.declared,
        "did": timeline.deeds.of(step.id).listed(),
        "lost": step.lost,
        "event_count": step.event_count,
        "left_running": step.left_running,
    }


def _claim(claim: ClaimLine, timeline: Timeline) -> dict[str, Any]:
    step = claim.id.removeprefix(CLAIMED)
    return {
        "id": claim.id,
        "tool": claim.tool,
        "arguments": claim.arguments,
        "source": claim.source,
        "process": claim.process,
        "program": claim.program,
        "began": None if claim.began is None else rfc3339(claim.began),
        "ended": None if claim.ended is None else rfc3339(claim.ended),
        "late": claim.late,
        "heeded": claim.heeded,
        "same_id_as_step": step if step in timeline.steps else None,
        "event_count": claim.event_count,
    }


def _denial(denial: Denial) -> dict[str, Any]:
    return {
        "id": denial.id,
        "time": rfc3339(denial.time),
        "process": denial.process,
        "program": denial.program,
        "operation": denial.operation,
        "object": denial.object,
        "wall": denial.wall,
        "errno": denial.errno,
        "step": denial.attribution.step,
        "phase": denial.attribution.phase,
        "attribution": denial.attribution.attribution,
        "reason": denial.attribution.reason,
        "candidates": list(denial.attribution.candidates),
        "clause": denial.clause,
        "count": denial.count,
    }
