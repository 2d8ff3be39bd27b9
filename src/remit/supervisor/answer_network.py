"""Sockets: what the scope grants, the deputy does; everything else is refused and recorded.

The socket is taken from the caller by pidfd_getfd and the address is copied once, so the act is done on exactly what
was judged, whatever the caller changes meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from remit.kernel import pidfd, proc
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.protocol import Message
from remit.supervisor.addresses import SOCKADDR_MAX, Address, GrantTable, decode
from remit.supervisor.answer_files import granted, resolve
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed, record_refusal
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.flows import Connections
from remit.supervisor.processes import Process

_AT_FDCWD = -100 & 0xFFFFFFFF
_LOW = 0xFFFFFFFF
_MSG_FASTOPEN = 0x20000000
_EINPROGRESS = errno.EINPROGRESS

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

Respond = Callable[[Question, int], None]


class NetworkAnswers:
    """Answers connect, bind, listen, socket and addressed sends. `respond` answers a question with an errno, later."""

    def __init__(self, desk: Desk, deputy: DeputyClient, respond: Respond) -> None:
        self._desk = desk
        self._deputy = deputy
        self._respond = respond
        self._connect = GrantTable(desk.plan.connect)
        self._listen = GrantTable(desk.plan.listen)
        self.connections = Connections()

    def connect(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """connect: by the scope's table, done by the deputy."""
        address, raw = _address(question, question.arguments[1], question.arguments[2])
        if address.family in ("inet", "inet6"):
            grant = self._connect.covering(address)
            if grant is None and not desk.plan.observe:
                return self._refuse("connect", process, address, "network.connect")
            clause = grant.clause if grant else "network.connect"
            return self._delegate("connect", process, question, address, raw, clause, observed=grant is None)
        if address.family == "unix":
            return self._delegate("connect", process, question, address, raw, "network.unix")
        if address.family == "unspecified":
            return self._delegate("connect", process, question, address, raw, "")
        return self._refuse("connect", process, address, "network.connect")

    def bind(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """bind: TCP by the scope's table; unix sockets wherever Landlock lets the deputy make one."""
        address, raw = _address(question, question.arguments[1], question.arguments[2])
        if address.family in ("inet", "inet6"):
            grant = self._listen.covering(address)
            if grant is None and not desk.plan.observe:
                return self._refuse("bind", process, address, "network.listen", operation="bind")
            clause = grant.clause if grant else "network.listen"
            return self._delegate("bind", process, question, address, raw, clause, observed=grant is None)
        if address.family == "unix":
            return self._delegate("bind", process, question, address, raw, "files.write")
        taken = _take(process, question)
        try:
            netlink = _option(taken, socket.SO_DOMAIN) == socket.AF_NETLINK
        finally:
            close_promptly(taken)
        # Only route netlink sockets exist inside the boundary, and binding one reaches nobody.
        return Proceed() if netlink else self._refuse("bind", process, address, "network.listen", operation="bind")

    def listen(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """listen: a TCP socket must be bound to a granted port, for listen alone would pick one by itself."""
        taken = _take(process, question)
        clause, observed = "", False
        address = Address("unix", "", 0)
        try:
            unix = _option(taken, socket.SO_DOMAIN) == socket.AF_UNIX
            if not unix:
                address = _local_address(taken)
        except OSError:
            close_promptly(taken)
            raise
        if not unix:
            grant = self._listen.covering(address) if address.port else None
            if grant is None and not desk.plan.observe:
                close_promptly(taken)
                return self._refuse("bind", process, address, "network.listen", operation="listen")
            clause, observed = (grant.clause, False) if grant else ("network.listen", True)
        request: Message = {"do": "listen", "backlog": _signed(question.arguments[1])}
        self._ask(request, (taken,), process, question, address, clause, "bind", operation="listen", observed=observed)
        return Later()

    def make_socket(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """socket and socketpair outside the allow-list: the filter lets the others through by itself.

        The filter compares whole registers, the kernel reads 32 bits of each: what is allowed in those goes on.
        """
        family, kind, protocol = (value & _LOW for value in question.arguments[:3])
        if (family, kind & _SOCKET_KIND, protocol) in _ALLOWED_SOCKETS[name]:
            return Proceed()
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
            clause="network",
        )
        return Fail(errno.EACCES)

    def send(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """Sends that name an address or open a connection by themselves (MSG_FASTOPEN)."""
        flags = question.arguments[2 if name == "sendmsg" else 3]
        if name == "sendto" and not flags & _MSG_FASTOPEN:
            taken = _take(process, question)
            try:
                # No datagram socket of another family can exist inside, so a swapped descriptor gains nothing.
                if _option(taken, socket.SO_DOMAIN) == socket.AF_NETLINK:
                    return Proceed()
            finally:
                close_promptly(taken)
        return record_refusal(desk, "flow", process, "send", question, errno.EACCES, "network.connect")

    def _delegate(
        self,
        operation: str,
        process: Process,
        question: Question,
        address: Address,
        raw: bytes,
        clause: str,
        *,
        observed: bool = False,
    ) -> Answer:
        descriptors = [_take(process, question)]
        made = os.fstat(descriptors[0]).st_ino
        request: Message = {"do": operation, "address": raw.hex()}
        try:
            if address.path is not None:
                request["path"] = address.path
                directory = f"/proc/{question.pid}/cwd"
                descriptors.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                if operation == "bind":
                    request["umask"] = proc.file_mode_mask(question.pid)
                else:
                    request["granted"] = list(self._desk.plan.unix)
                    if self._desk.plan.observe:
                        request["withheld"] = list(self._desk.plan.outside)
        except OSError:
            for number in descriptors:
                close_promptly(number)
            raise
        self._ask(
            request, tuple(descriptors), process, question, address, clause, operation, made=made, observed=observed
        )
        return Later()

    def _ask(
        self,
        request: Message,
        descriptors: tuple[int, ...],
        process: Process,
        question: Question,
        address: Address,
        clause: str,
        kind: str,
        operation: str | None = None,
        made: int = 0,
        observed: bool = False,
    ) -> None:
        more: dict[str, Any] = {"operation": operation or kind} if kind == "bind" else {}

        def finish(outcome: Message) -> None:
            error = int(outcome["errno"])
            if kind == "connect" and error in (0, _EINPROGRESS) and address.port:
                self.connections.add(made, process, address)
            wall = "unix-sockets" if outcome.get("refused") else self._landlock_wall(kind, question, address, error)
            if observed or outcome.get("uncovered") or self._binds_elsewhere(kind, question, address, error):
                more["observed"] = True
            if address.family != "unspecified":
                self._record(kind, process, address, error, bool(wall), wall, clause, **more)
            self._respond(question, error)

        self._deputy.ask(request, descriptors, process, finish)

    def _binds_elsewhere(self, kind: str, question: Question, address: Address, error: int) -> bool:
        """Whether a socket was made, while observing, where no grant lets a file be made."""
        if not self._desk.plan.observe or kind != "bind" or address.path is None or error:
            return False
        return granted(self._desk, resolve(question.pid, _AT_FDCWD, address.path)[0], "write") is None

    def _landlock_wall(self, kind: str, question: Question, address: Address, error: int) -> str:
        """Which of Landlock's walls gave the deputy this errno for a unix socket, or "" when none did."""
        if address.family != "unix":
            return ""
        if kind == "connect":
            return "abstract-sockets" if error == errno.EPERM and address.path is None else ""
        if error != errno.EACCES or address.path is None:
            return ""
        place, _ = resolve(question.pid, _AT_FDCWD, address.path)
        return "files" if granted(self._desk, place, "write") is None else ""

    def _refuse(self, kind: str, process: Process, address: Address, clause: str, **more: Any) -> Fail:
        self._record(kind, process, address, errno.EACCES, True, "addresses", clause, **more)
        return Fail(errno.EACCES)

    def _record(
        self,
        kind: str,
        process: Process,
        address: Address,
        error: int,
        refused: bool,
        wall: str,
        clause: str,
        **more: Any,
    ) -> None:
        self._desk.record(
            kind,
            process=process.identity,
            **more,
            family=address.family,
            address=address.host,
            port=address.port,
            errno=error,
            refused=refused,
            wall=wall,
            clause=clause,
        )


def _address(question: Question, pointer: int, length: int) -> tuple[Address, bytes]:
    length &= _LOW
    if not 0 < length <= SOCKADDR_MAX:
        raise OSError(errno.EINVAL, "address length")
    raw = proc.read_memory(question.pid, pointer, length)
    return decode(raw), raw


def _take(process: Process, question: Question) -> int:
    return pidfd.take_descriptor(process.pidfd, _signed(question.arguments[0]))


def _signed(value: int) -> int:
    value &= _LOW
    return value - (1 << 32) if value >> 31 else value


def _option(descriptor: int, option: int) -> int:
    holder = socket.socket(fileno=descriptor)
    try:
        return holder.getsockopt(socket.SOL_SOCKET, option)
    finally:
        holder.detach()


def _local_address(descriptor: int) -> Address:
    holder = socket.socket(fileno=descriptor)
    try:
        name = holder.getsockname()
    finally:
        holder.detach()
    family = socket.AF_INET6 if len(name) == 4 else socket.AF_INET
    packed = socket.inet_pton(family, name[0])
    return Address("inet6" if len(name) == 4 else "inet", name[0], name[1], packed)
