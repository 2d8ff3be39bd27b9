"""What a line of MCP's stdio transport says, for one who passes it on: the line itself is never changed.

A message that two readers could understand differently is unreadable here, so that no call passes for something else.
"""

from __future__ import annotations

import json
import math
from typing import Any

MESSAGE_MAX = 64 << 20  # of one line, as of one request to the model gateway
_DEEPEST = 64  # of what a record carries
_LONGEST = 1 << 20  # of the same, as JSON
_SHOWN = 4096

Key = tuple[str, int | str]


class Unreadable(Exception):
    """This line is no message, or one that others may read differently."""


def read_line(line: bytes) -> list[dict[str, Any]]:
    """The messages of a line: none of a blank one, the members of a batch. Raises Unreadable."""
    if not line.strip():
        return []
    try:
        text = line.decode("utf-8")
        said = json.loads(text, object_pairs_hook=_members, parse_float=_number, parse_constant=str)
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    except json.JSONDecodeError as problem:
        raise Unreadable(f"not JSON: {problem.msg}") from None
    except RecursionError:
        raise Unreadable("nested too deep") from None
    except ValueError as problem:
        raise Unreadable(str(problem)[:100]) from None
    messages = said if isinstance(said, list) else [said]
    if not all(isinstance(message, dict) for message in messages):
        raise Unreadable("not an object")
    return messages


def key_of(message: dict[str, Any], member: str = "id") -> Key | None:
    """What tells requests apart: 7 and "7" are two ids, 7 and 7.0 are one; None when there is no usable one."""
    id = message.get(member)
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    if isinstance(id, bool) or not isinstance(id, int | str):
        return None
    return type(id).__name__, id


def is_answer(message: dict[str, Any]) -> bool:
    return "method" not in message and ("result" in message or "error" in message)


def parameters(message: dict[str, Any]) -> dict[str, Any]:
    found = message.get("params")
    return found if isinstance(found, dict) else {}


def recordable(value: Any) -> Any:
    """The value, or the beginning of its text when it is too much for one record."""
    if _depth_within(value, _DEEPEST):
        text = json.dumps(value)
        if len(text) <= _LONGEST:
            return value
        return {"too large": len(text), "begins": text[:_SHOWN]}
    return {"too deep": _DEEPEST}


def encode(message: Any) -> bytes:
    """One line, for the few messages that are our own or have another id."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def parse_error(reason: str) -> bytes:
    """The answer to a message that is not passed on because it could not be read (JSON-RPC 2.0, section 5.1)."""
    return refusal(None, -32700, f"remit passes on only what it can read: {reason}")


def refusal(id: Any, code: int, message: str) -> bytes:
    return encode({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice in one object")
    return members


def _number(text: str) -> float | str:
    """JSON has no infinity, and evidence is JSON: 1e999 stays the text that it was."""
    number = float(text)
    return number if math.isfinite(number) else text


def _depth_within(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        members: list[Any] = []
        for found in level:
            if isinstance(found, dict):
                members += found.values()
            elif isinstance(found, list):
                members += found
        if not members:
            return True
        level = members
    return False
