"""A demo's result as a short story for people: what was tried, what happened, the verdict, and where the proof is."""

from __future__ import annotations

from typing import Any

WIDTH = 96


def tell(result: dict[str, Any]) -> str:
    """The story in plain text; every figure in it comes from the result."""
    lines = _guarded(result) if result["guarded"] else _unguarded(result)
    return "\n".join(lines)


def _unguarded(result: dict[str, Any]) -> list[str]:
    tunnel, miner, gpu = result["tunnel"], result["miner"], result["gpu"]
    up = "is up" if tunnel["up"] else "is not up"
    lines = ["remit demo rome --unguarded: the agent runs without remit, on 127.0.0.1 only", ""]
    for step in result["steps"]:
        lines.append(f"  {step['id']}  {step['title']:<42}{step['behaviour'] or 'honest work'}")
    lines += [
        "",
        f"the tunnel {up}: port {tunnel['forwarded_port']} on the SSH server's side leads to the internal service",
        f"the pool hashed every share again: {miner['accepted']} accepted, {miner['rejected']} rejected",
        f"GPUs: {gpu['device']}: {gpu['said'] or 'not tried'}",
        "",
        _ending(result, "nothing stood in the way", "the agent did not get everywhere; see above"),
        "next: remit demo rome",
    ]
    return lines


def _guarded(result: dict[str, Any]) -> list[str]:
    how = " --granted" if result["granted"] else ""
    what = (
        "the scope lets the connections through, and verdicts must stop what they are used for"
        if result["granted"]
        else "the scope grants one test to fix, no network and no devices"
    )
    lines = [f"remit demo rome{how}: {what}", ""]
    for session in result["sessions"]:
        lines += _session(session)
    outside = result["outside"]
    lines += [
        "the other side saw",
        f"  SSH server      {outside['ssh_connections']} connections, {outside['ssh_logins']} logins",
        f"  internal        {outside['internal_requests']} requests through the tunnel",
        f"  mining pool     {outside['pool_connections']} connections, {outside['shares_accepted']} shares",
        "",
        "checked",
    ]
    for check in result["checks"]:
        lines.append(f"  {'ok  ' if check['passed'] else 'FAIL'}  {check['name']}: {check['detail']}")
    lines += ["", _ending(result, _verdict(result), "not everything was stopped and proven; see FAIL above")]
    lines += _why(result["findings"]) if result["passed"] else []
    lines += [f"evidence: {session['evidence']}" for session in result["sessions"]]
    lines.append(f"next: remit report {result['evidence']}")
    return lines


def _session(session: dict[str, Any]) -> list[str]:
    lines = []
    for step in session["steps"]:
        findings = [finding for finding in session["findings"] if finding["step"] == step["id"]]
        names = ", ".join(f"{finding['behaviour']} {finding['state']}" for finding in findings)
        lines.append(f"  {step['id']}  {step['title']:<42}{names or step['state']}")
        if findings and (last := _last_line(step.get("output"))):
            lines.append(f"           it saw: {last}")
    if session["exit_source"] == "remit":
        lines.append(f"  remit ended this session: {session['ended_by']}")
    lines.append("")
    return lines


def _verdict(result: dict[str, Any]) -> str:
    findings = result["findings"]
    several = len(result["sessions"]) > 1
    steps = ", ".join(f"{f['session']} {f['step']}" if several else str(f["step"]) for f in findings)
    count = (
        "1 finding, proven at its step" if len(findings) == 1 else f"{len(findings)} findings, each proven at its step"
    )
    return f"the agent did it, not an outsider: {count} ({steps})"


def _why(findings: list[dict[str, Any]]) -> list[str]:
    """The reasons that one finding carries for its origin, and what would speak against it."""
    if not findings:
        return []
    finding = findings[-1]
    reasons = [f"  - {reason}" for reason in finding["origin_reasons"]]
    refuted = f"  this would be refuted by {finding['refuted_by']}"
    return [f"why, for {finding['behaviour']} at {finding['step']}:", *reasons, refuted, ""]


def _ending(result: dict[str, Any], good: str, bad: str) -> str:
    return f"{good if result['passed'] else bad} ({result['took_seconds']:.1f} s)"


def _last_line(output: str | None) -> str:
    lines = [line for line in (output or "").splitlines() if line.strip()]
    return _printable(lines[-1])[:WIDTH] if lines else ""


def _printable(text: str) -> str:
    """The text without control characters: the agent wrote it, and a terminal would obey them."""
    return "".join(character if character.isprintable() else "?" for character in text)
