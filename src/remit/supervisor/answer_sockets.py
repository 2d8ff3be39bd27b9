"""socket and socketpair: only kinds that the walls and the scope's grants speak of come into being."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from remit.kernel.seccomp import Question
from remit.protocol import Message
from remit.supervisor import nested
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.processes import Process

_LOW = 0xFFFFFFFF
_SOCKET_KIND = 0xF
_STREAMS = {(socket.AF_UNIX, kind, 0) for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)}
_ALLOWED_SOCKETS = {
    "socketpair": _STREAMS,
    "socket": _STREAMS
    | {
        (family, socket.SOCK_STREAM, protocol)
        for family in (socket.AF_INET, socket.AF_INET6)
        for protocol in (0, socket.IPPROTO_TCP)
    },
}
_DATAGRAMS = {
    (family, socket.SOCK_DGRAM, protocol)
    for family in (socket.AF_INET, socket.AF_INET6)
    for protocol in (0, socket.IPPROTO_UDP)
}
# Where sockets are made here, the filter asks for those, too, that it lets through elsewhere.
_MADE_HERE = {
    *((socket.AF_NETLINK, kind, 0) for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM)),  # NETLINK_ROUTE
    *((socket.AF_UNIX, kind, socket.AF_UNIX) for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)),
}

Respond = Callable[[Question, int, int], None]


class SocketAnswers:
    """Answers socket and socketpair. `made`: where sockets are made for the agent, `listener`: whence questions come.

    `respond` answers a question with a value and an errno, later.
    """

    def __init__(self, deputy: DeputyClient, made: MadeSockets | None, listener: int, respond: Respond) -> None:
        self._deputy = deputy
        self._made = made
        self._listener = listener
        self._respond = respond

    def make_socket(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """What the filter does not let through by itself, because it is not allowed or to be made here.

        The filter compares whole registers, the kernel reads 32 bits of each: what is allowed in those goes on.
        """
        family, kind, protocol = (value & _LOW for value in question.arguments[:3])
        wanted = (family, kind & _SOCKET_KIND, protocol)
        allowed = _ALLOWED_SOCKETS[name]
        if name == "socket" and self._made is not None:
            allowed = allowed | _MADE_HERE
        elif name == "socket" and desk.udp:
            allowed = allowed | _DATAGRAMS
        if wanted in allowed:
            return self._make(desk, process, question, (family, kind, protocol)) if name == "socket" else Proceed()
        if name == "socket" and wanted in _DATAGRAMS and self._reaches_nobody(desk, question.pid):
            return Proceed()
        granted = self._made is not None and desk.udp and wanted in _DATAGRAMS
        clause = "sockets-not-taken: no datagrams here, granted or not" if granted else "network"
        return _refuse(desk, process, wanted, errno.EACCES, clause)

    @staticmethod
    def _reaches_nobody(desk: Desk, thread: int) -> bool:
        """In a network that a sandbox made for itself there are only its own; it looks up the loopback interface."""
        return nested.allows_mounts(desk.plan.scope) and nested.has_own_network(desk.plan.scope, thread)

    def _make(self, desk: Desk, process: Process, question: Question, wanted: tuple[int, int, int]) -> Answer:
        made = self._made
        if made is None or nested.has_own_network(desk.plan.scope, question.pid):
            return Proceed()  # in a network of its own it is refused when it is used, for it was not made here
        family, kind, protocol = wanted
        if made.full():
            clause = f"sockets-not-taken: {made.most} sockets that are not connected"
            return _refuse(desk, process, (family, kind & _SOCKET_KIND, protocol), errno.EMFILE, clause)

        def finish(outcome: Message) -> None:
            made.awaited -= 1
            if "given" in outcome:
                made.add(outcome["given"])
            self._respond(question, int(outcome.get("place", 0)), int(outcome["errno"]))

        made.awaited += 1
        # By the deputy: some walls look at whose a socket is, and a thread that never runs must not keep us waiting.
        request: Message = {"do": "make", "family": family, "kind": kind, "protocol": protocol, "question": question.id}
        self._deputy.ask(request, (os.dup(self._listener),), process, finish)
        return Later()


def _refuse(desk: Desk, process: Process, wanted: tuple[int, int, int], error: int, clause: str) -> Fail:
    family, kind, protocol = wanted
    desk.record(
        "flow",
        process=process.identity,
        operation="socket",
        family=family,
        type=kind,
        protocol=protocol,
        errno=error,
        refused=True,
        wall="socket-kinds",
        clause=clause,
    )
    return Fail(error)
