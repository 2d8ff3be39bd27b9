"""socket and socketpair: only kinds that the walls and the scope's grants speak of come into being."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from remit.kernel.seccomp import Question
from remit.supervisor import nested
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed
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

Give = Callable[[Question, int, bool], None]


class SocketAnswers:
    """Answers socket and socketpair. `made`: where sockets are made here. `give` answers with a descriptor of ours."""

    def __init__(self, made: MadeSockets | None, give: Give) -> None:
        self._made = made
        self._give = give

    def make_socket(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """What the filter does not let through by itself, because it is not allowed or to be made here.

        The filter compares whole registers, the kernel reads 32 bits of each: what is allowed in those goes on.
        """
        family, kind, protocol = (value & _LOW for value in question.arguments[:3])
        wanted = (family, kind & _SOCKET_KIND, protocol)
        allowed = _ALLOWED_SOCKETS[name]
        if name == "socket" and self._made is not None:
            allowed = allowed | _MADE_HERE
        elif name == "socket" and desk.plan.udp:
            allowed = allowed | _DATAGRAMS
        if wanted in allowed:
            return self._make(desk, question, (family, kind, protocol)) if name == "socket" else Proceed()
        granted = self._made is not None and desk.plan.udp and wanted in _DATAGRAMS
        desk.record(
            "flow",
            process=process.identity,
            operation="socket",
            family=family,
            type=kind & _SOCKET_KIND,
            protocol=protocol,
            errno=errno.EACCES,
            refused=True,
            wall="socket-kinds",
            clause="sockets-not-taken: no datagrams" if granted else "network",
        )
        return Fail(errno.EACCES)

    def _make(self, desk: Desk, question: Question, wanted: tuple[int, int, int]) -> Answer:
        if self._made is None or nested.has_own_network(desk.plan.scope, question.pid):
            return Proceed()  # in a network of its own it is refused when it is used, for it was not made here
        try:
            self._give(question, self._made.make(*wanted), bool(wanted[1] & socket.SOCK_CLOEXEC))
        except OSError as problem:
            return Fail(problem.errno or errno.EIO)
        return Later()
