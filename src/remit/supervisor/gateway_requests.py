"""What the model gateway may ask besides marking steps: who calls it, and to have it recorded when it refuses a call.

It stands outside the boundary, and its connections are made by the deputy for the agent. So the supervisor knows whose
each one is: by the inode of the socket at its other end, which the kernel tells (sock_diag(7)).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from remit.kernel import tcp_diag
from remit.protocol import Message, ProtocolError
from remit.supervisor.flows import Connections


class GatewayRequests:
    """Answers the gateway. `connections` are those that were made for the agent."""

    def __init__(self, connections: Connections, record: Callable[..., Any]) -> None:
        self._connections = connections
        self._record = record

    def perform(self, message: Message) -> Any:
        """Do what was asked. Raises ProtocolError on what a gateway may not ask."""
        action = message.get("do")
        if action == "whose":
            peer, here = (tuple(message[end]) for end in ("peer", "here"))
            return self._whose((str(peer[0]), int(peer[1])), (str(here[0]), int(here[1])))
        if action == "refused":
            caller, asked, reason = message.get("caller"), list(message["asked"]), str(message["reason"])
            act = {"operation": "model", "target": " ".join(map(str, asked)), "errno": errno.EACCES, "refused": True}
            why = {"wall": "model", "clause": "model", "reason": reason}
            self._record("model", mark="refused", process=caller, asked=asked, **act, **why)
            return None
        if action == "unread":
            self._record(
                "model", mark="unread", process=message.get("caller"), asked=None, reason=str(message["reason"])
            )
            return None
        raise ProtocolError(f"not for a gateway to ask: {action}")

    def gone(self) -> None:
        """Without its gateway the agent has no model; its walls stand."""
        self._record("model", mark="gone", process=None, asked=None, reason="the gateway ended")

    def _whose(self, peer: tuple[str, int], here: tuple[str, int]) -> str | None:
        """Identity of the process that made the connection with these ends; None when that was none of ours.

        Any address of loopback may have a port of the same number, so both ends are looked up whole.
        """
        ends = tcp_diag.Ends(socket.AF_INET, socket.inet_aton(peer[0]), peer[1], socket.inet_aton(here[0]), here[1])
        try:
            found = tcp_diag.carried(ends)
        except OSError:
            return None
        return self._connections.maker(found.inode, here) if found is not None and found.inode else None
