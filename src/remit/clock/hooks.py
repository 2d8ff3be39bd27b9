"""Command hooks as Claude Code calls them: one JSON object on stdin becomes claims; no output, and always status 0.

A hook must never break the agent that calls it. So whatever goes wrong here is nobody's business: the claim is missing,
and what it would have said stays unknown.
"""

from __future__ import annotations

import json
import os
from typing import Any

from remit.clock.claimant import is_inside, send_claims

_ENDS = ("PostToolUse", "PostToolUseFailure", "PermissionDenied")
EVENTS = ("PreToolUse", *_ENDS, "SubagentStart", "SubagentStop", "Stop", "SessionEnd")
_INPUT_MAX = 64 << 20
_SOURCE = "hook"


def tell() -> int:
    """Read what the agent says on stdin, and claim it."""
    try:
        said = _read(0)
        if is_inside():
            send_claims(claims_of(json.loads(said)))
    except Exception:
        pass
    return 0


def claims_of(said: Any) -> list[dict[str, Any]]:
    """What one call of a hook says of the agent's steps."""
    if not isinstance(said, dict):
        return []
    event, agent = said.get("hook_event_name"), said.get("agent_id")
    conversation = str(said.get("session_id") or "hook")
    common: dict[str, Any] = {"source": _SOURCE, "group": f"{conversation}/{agent}" if agent else conversation}
    subagent = {"step": f"subagent:{agent}", "tool": str(said.get("agent_type") or "subagent")}
    if event == "PreToolUse" or event in _ENDS:
        if not said.get("tool_use_id"):
            return []
        call = {"step": str(said["tool_use_id"]), "tool": str(said.get("tool_name") or "?")}
        if event != "PreToolUse":
            return [{"mark": "end", **call, **common}]
        within = {"within": subagent["step"]} if agent else {}
        return [{"mark": "begin", **call, "arguments": said.get("tool_input"), **common, **within}]
    if event == "SubagentStart" and agent:
        # It belongs to the conversation around it, whose end is its own.
        return [{"mark": "begin", **subagent, **common, "group": conversation}]
    if event == "SubagentStop" and agent:
        return [{"mark": "end", **common}, {"mark": "end", **subagent, **common}]
    # A call that was not allowed begins and never ends, but no turn outlives its calls.
    return [{"mark": "end", **common}] if event in ("Stop", "SessionEnd") else []


def _read(descriptor: int) -> bytes:
    """All that is said, also when it is of no use: who writes must not find the pipe closed."""
    pieces, length = [], 0
    while piece := os.read(descriptor, 1 << 20):
        length += len(piece)
        if length <= _INPUT_MAX:
            pieces.append(piece)
    return b"".join(pieces)
