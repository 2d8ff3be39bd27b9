"""An agent loop: ask the model, run the tool call it wants, send back the result, until it wants no more.

The loop stands outside the boundary. It does not know whether its commands run inside one: that is the executor.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOOL = "bash"
MAXIMUM_TURNS = 32
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Run a command with bash in the workspace.",
            "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
        },
    }
]


def work(model_port: int, prompt: str, execute: Execute) -> list[Turn]:
    """Run the conversation to its end and return what was done; `execute` returns None to stop the agent."""
    turns: list[Turn] = []
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    connection = http.client.HTTPConnection("127.0.0.1", model_port, timeout=10)
    try:
        for _ in range(MAXIMUM_TURNS):
            message = _ask(connection, messages)
            wanted = message.get("tool_calls") or []
            if not wanted:
                break
            messages.append(message)
            for call in map(_tool_call, wanted):
                result = execute(call)
                if result is None:
                    return turns
                turns.append(Turn(call, result))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result.output})
        return turns
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, messages: list[dict[str, Any]]) -> dict[str, Any]:
    body = json.dumps({"model": "replay", "messages": messages, "tools": TOOLS})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    message: dict[str, Any] = answer["choices"][0]["message"]
    return message


def _tool_call(wanted: dict[str, Any]) -> ToolCall:
    function = wanted["function"]
    return ToolCall(wanted["id"], function["name"], json.loads(function["arguments"]))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call as the model asked for it."""

    id: str
    tool: str
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the command said (stdout, then stderr) and how it ended (negative: by a signal)."""

    status: int
    output: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A tool call with its result."""

    call: ToolCall
    result: ToolResult


Execute = Callable[[ToolCall], ToolResult | None]
