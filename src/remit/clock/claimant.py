"""Sends claims from inside the boundary to the session's claims socket; it never raises and never waits.

A hook stands before each tool call and pays for what is imported here: so no `socket`, which takes longer to load than
the rest to run, but what it is made of.
"""

from __future__ import annotations

import _socket
import json
import os
from typing import Any

from remit.claims import CLAIMS_VARIABLE, DEEPEST, LINE_MAX, WORD_MAX

_TEXT_MAX, _MEMBERS_MAX = 4096, 256  # of arguments that are too long to be sent whole


def is_inside() -> bool:
    """Whether this process is in a session that takes claims."""
    return bool(os.environ.get(CLAIMS_VARIABLE))


def send_claims(claims: list[dict[str, Any]]) -> bool:
    """Send claims over a connection of their own; False when they could not be sent, which nobody needs to mind."""
    place = os.environ.get(CLAIMS_VARIABLE)
    if not place or not claims:
        return False
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    except OSError:
        return False
    try:
        connection.connect(place)
        connection.setblocking(False)
        data = b"".join(map(encode_claim, claims))
        return connection.send(data) == len(data)
    except (OSError, ValueError):
        return False
    finally:
        connection.close()


def encode_claim(claim: dict[str, Any]) -> bytes:
    """The line of a claim; arguments that make it too long are shortened, or left out."""
    words = {name: value[:WORD_MAX] if isinstance(value, str) else value for name, value in claim.items()}
    line = b""
    for arguments in (_plain(claim.get("arguments"), 0, 0), _plain(claim.get("arguments"), 0, _TEXT_MAX), None):
        line = json.dumps({**words, "arguments": arguments}, separators=(",", ":"), default=str).encode()
        if len(line) <= LINE_MAX:
            break
    return line + b"\n"


def _plain(value: Any, depth: int, longest: int) -> Any:
    """As JSON can carry it and a record takes it; texts and lists at most so long, when `longest` is given."""
    if isinstance(value, str):
        return value if not longest or len(value) <= longest else f"{value[:longest]}…"
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if depth == DEEPEST:
        return "…"
    if isinstance(value, dict):
        members = list(value.items())[: _MEMBERS_MAX if longest else None]
        return {str(name): _plain(member, depth + 1, longest) for name, member in members}
    if isinstance(value, list | tuple):
        return [_plain(member, depth + 1, longest) for member in value[: _MEMBERS_MAX if longest else None]]
    return str(value)
