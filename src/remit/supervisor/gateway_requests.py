"""What the model gateway may ask besides marking steps: who calls it, and to have it recorded what is said, and when it
refuses a call.

It stands outside the boundary, and its connections are made by the deputy for the agent. So the supervisor knows whose
each one is: by the inode of the socket at its other end, which the kernel tells (sock_diag(7)).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from remit.kernel import tcp_diag
from remit.protocol import Message, ProtocolError
from remit.supervisor.control import stands_outside
from remit.supervisor.flows import Connections
from remit.supervisor.processes import ProcessTable

OUTSIDE = "outside"  # stands for a harness that is none of the session's processes

_TURN = (
    *("mark", "caller", "language", "model", "steps", "tools", "earlier", "elsewhere", "status", "bytes", "sha256"),
    *("texts", "results"),
)


class GatewayRequests:
    """Answers the gateway. `connections` are those that were made for the agent."""

    def __init__(self, connections: Connections, processes: ProcessTable, record: Callable[..., Any]) -> None:
        self._connections = connections
        self._processes = processes
        self._record = record

    def perform(self, message: Message, *, outside: bool) -> Any:
        """Do what was asked, by the gateway of a harness `outside` or by the agent's own. Raises ProtocolError on what
        a gateway may not ask."""
        action = message.get("do")
        if action == "whose" and "pid" in message:
            known = outside and stands_outside(self._processes, int(message["pid"]), int(message["user"]))
            return OUTSIDE if known else None
        if action == "whose":
            peer, here = (tuple(message[end]) for end in ("peer", "here"))
            ends = (str(peer[0]), int(peer[1])), (str(here[0]), int(here[1]))
            return self._outsider(*ends) if outside else self._whose(*ends)
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
        if action == "turn":
            return self.turn(message, "gateway")
        raise ProtocolError(f"not for a gateway to ask: {action}")

    def turn(self, message: Message, source: str) -> None:
        """Record what a model said, or was told, as it is."""
        if message.get("mark") not in ("request", "answer"):
            raise ProtocolError(f"neither request nor answer: {message.get('mark')}")
        self._record("turn", source=source, **{name: message[name] for name in _TURN if name in message})

    def gone(self) -> None:
        """Without its gateway the agent has no model; its walls stand."""
        self._record("model", mark="gone", process=None, asked=None, reason="the gateway ended")

    def _whose(self, peer: tuple[str, int], here: tuple[str, int]) -> str | None:
        """Identity of the process that made the connection with these ends; None when that was none of ours.

        Any address of loopback may have a port of the same number, so both ends are looked up whole.
        """
        found = _carried(peer, here)
        return self._connections.maker(found.inode, here) if found is not None and found.inode else None

    def _outsider(self, peer: tuple[str, int], here: tuple[str, int]) -> str | None:
        """OUTSIDE for a connection of this user's that was not made for any process of the session."""
        found = _carried(peer, here)
        if found is None or not found.inode or found.user != os.getuid():
            return None
        return OUTSIDE if self._connections.maker(found.inode, here) is None else None


def _carried(peer: tuple[str, int], here: tuple[str, int]) -> tcp_diag.Carried | None:
    ends = tcp_diag.Ends(socket.AF_INET, socket.inet_aton(peer[0]), peer[1], socket.inet_aton(here[0]), here[1])
    try:
        return tcp_diag.carried(ends)
    except OSError:
        return None
