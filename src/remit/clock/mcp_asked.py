"""What several servers ask of one client: under ids that are not the same for two, and that nobody can guess."""

from __future__ import annotations

import secrets
from typing import Any, Generic, TypeVar

from remit.clock.mcp_messages import encode, parameters

_MOST = 1024  # that wait for the client's answer; the oldest is forgotten

Server = TypeVar("Server")


class Asked(Generic[Server]):
    """Of the servers beside the main one, whose messages pass unchanged."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[Server, Any]] = {}

    def to_client(self, server: Server, message: dict[str, Any]) -> bytes | None:
        """A request or notification as the client shall have it; None when it means nothing to the client."""
        if "id" in message:
            if len(self._asked) >= _MOST:
                del self._asked[next(iter(self._asked))]
            id = f"remit-{secrets.token_hex(8)}"
            self._asked[id] = server, message["id"]
            return encode({**message, "id": id})
        if message.get("method") == "notifications/cancelled":
            wanted = server, parameters(message).get("requestId")
            id = next((id for id, asked in self._asked.items() if asked == wanted), "")
            return encode({**message, "params": {**parameters(message), "requestId": id}}) if id else None
        return encode(message)

    def answered(self, message: dict[str, Any]) -> tuple[Server, bytes] | None:
        """Who asked what this message of the client answers, and the answer as it is to have it."""
        id = message.get("id")
        asked = self._asked.pop(id, None) if isinstance(id, str) else None
        return (asked[0], encode({**message, "id": asked[1]})) if asked is not None else None
