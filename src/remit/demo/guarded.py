"""The agent inside its remit: every tool call is a step of a session, and what happened is read from the evidence."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import remit
from remit.demo import script
from remit.demo.agent import ToolCall, ToolResult, Turn, work
from remit.demo.checks import Check, granted_checks, guarded_checks
from remit.demo.model import model_endpoint
from remit.demo.outside import Outside, outside_world
from remit.demo.proof import proofs
from remit.demo.scope import scope_text
from remit.demo.workspace import Place
from remit.report.summary import build_report

STEP_SECONDS = 15.0
PATIENCE = 6.0  # how long the granted tunnel and miner would go on if no verdict came


def run_guarded(place: Place, accept_gaps: Sequence[str] = ()) -> dict[str, Any]:
    """The whole story in one session whose scope grants no network."""
    began = time.monotonic()
    with outside_world(place.workspace / script.KEY_FILE) as outside:
        played = play(place, "rome", script.rome(outside), scope_text(), accept_gaps)
        checks = guarded_checks(played.report, played.script, played.turns, outside)
    checks.append(Check("the honest work is done", place.result_is_there(), "durations.py fixed, RESULT.md written"))
    checks += proofs(played.evidence, played.name)
    return _result("guarded", [played], checks, outside, time.monotonic() - began)


def run_granted(place: Place, accept_gaps: Sequence[str] = ()) -> dict[str, Any]:
    """Two sessions whose scope lets the connections through: the tunnel in one, the miner in the other."""
    began = time.monotonic()
    with outside_world(place.workspace / script.KEY_FILE) as outside:
        scope = scope_text([outside.remote.port, outside.pool.port])
        start = script.honest_work()[:1]
        tunnel = [*start, script.tunnel(outside), script.waiting(PATIENCE)]
        miner = [*start, script.miner(outside, shares=1_000_000, seconds=PATIENCE)]
        stories = (("tunnel", tunnel), ("miner", miner))
        played = [play(place, name, turns, scope, accept_gaps) for name, turns in stories]
        checks = [check for one in played for check in granted_checks(one.name, one.report, one.script, one.result)]
        checks.append(_everyone_left(outside))
    for one in played:
        checks += proofs(one.evidence, one.name)
    return _result("granted", played, checks, outside, time.monotonic() - began)


def play(place: Place, name: str, turns: list[script.Scripted], scope: str, accept_gaps: Sequence[str] = ()) -> Played:
    """Run one scripted conversation as one session and read the report from its evidence."""
    # Beside the workspace, never in it: the agent must not reach what bounds it.
    scope_file = place.root / f"scope-{name}.yaml"
    scope_file.write_text(scope, encoding="utf-8")
    evidence = place.evidence / name if place.evidence else None
    labels = {"demo": "rome", "story": name}
    calls = script.numbered(turns)
    with (
        remit.Session(
            scope=scope_file, workspace=place.workspace, labels=labels, evidence=evidence, accept_gaps=accept_gaps
        ) as session,
        model_endpoint(calls) as model_port,
    ):
        done = work(model_port, script.PROMPT, lambda call: _execute(session, call))
    # Leaving a session without an exception means that it has a result.
    assert session.result is not None
    report = _with_plain_origins(build_report(session.evidence))
    return Played(name, turns, done, session.evidence, session.result, report)


def _with_plain_origins(report: dict[str, Any]) -> dict[str, Any]:
    """The report with `origin` as one word, and its reasons beside it."""
    for finding in report["findings"]:
        origin = finding["origin"]
        finding |= {"origin": origin["who"], "origin_reasons": origin["reasons"], "refuted_by": origin["refuted_by"]}
    return report


def _execute(session: remit.Session, call: ToolCall) -> ToolResult | None:
    """One tool call as one step, or None when a verdict has ended the session."""
    try:
        with session.step(call.id, tool=call.tool, arguments=call.arguments):
            done = session.run(
                ["bash", "-c", call.arguments["command"]],
                capture_output=True,
                text=True,
                timeout=STEP_SECONDS,
            )
    except remit.SessionEnded:
        return None
    except subprocess.TimeoutExpired:
        return ToolResult(124, f"no end within {STEP_SECONDS:g} seconds")
    return ToolResult(done.returncode, done.stdout + done.stderr)


def _everyone_left(outside: Outside) -> Check:
    gone = outside.everyone_left(2.0)
    detail = f"{outside.remote.connected} SSH clients and {outside.pool.connected} miners are still connected"
    return Check("nobody is left on the other side", gone, detail)


def _result(mode: str, played: Sequence[Played], checks: list[Check], outside: Outside, took: float) -> dict[str, Any]:
    sessions = [one.as_json() for one in played]
    return {
        "schema_version": 1,
        "guarded": True,
        "granted": mode == "granted",
        "passed": all(check.passed for check in checks),
        "findings": [finding for one in sessions for finding in one["findings"]],
        "steps": [step for one in sessions for step in one["steps"]],
        "checks": [check.as_json() for check in checks],
        "outside": {
            "ssh_connections": outside.remote.connections,
            "ssh_logins": outside.remote.logins,
            "internal_requests": outside.internal.requests,
            "pool_connections": outside.pool.connections,
            "shares_accepted": outside.pool.accepted,
        },
        "sessions": sessions,
        "evidence": sessions[-1]["evidence"],
        "took_seconds": round(took, 3),
    }


@dataclass(frozen=True, slots=True)
class Played:
    """One session that was played to its end."""

    name: str
    script: list[script.Scripted]
    turns: list[Turn]
    evidence: Path
    result: remit.SessionResult
    report: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        titles = {call.id: turn.title for call, turn in zip(script.numbered(self.script), self.script, strict=True)}
        status = {turn.call.id: turn.result.status for turn in self.turns}
        said = {turn.call.id: turn.result.output for turn in self.turns}
        steps = [
            {
                "session": self.name,
                **step,
                "title": titles.get(step["id"], ""),
                "status": status.get(step["id"]),
                "output": said.get(step["id"]),
            }
            for step in self.report["steps"]
        ]
        return {
            "name": self.name,
            "evidence": str(self.evidence),
            "exit_source": self.result.exit_source,
            "ended_by": self.result.ended_by,
            "findings": [{"session": self.name, **finding} for finding in self.report["findings"]],
            "steps": steps,
        }
