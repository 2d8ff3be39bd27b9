"""Sockets: what the scope grants, the deputy does; everything else is refused and recorded.

The socket is taken from the caller by pidfd_getfd and the address is copied once, so the act is done on exactly what
was judged, whatever the caller changes meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from remit.kernel import proc, tcp_table
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.protocol import Message
from remit.supervisor import views
from remit.supervisor.addresses import SOCKADDR_MAX, Address, decode
from remit.supervisor.answer_files import granted, resolve
from remit.supervisor.answer_sends import SendAnswers
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed, Return
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.flows import Connections
from remit.supervisor.made_sockets import MadeSockets, Spent
from remit.supervisor.own_ports import OwnPorts
from remit.supervisor.processes import Process
from remit.supervisor.taken import NotTaken, Taken, is_datagram, local_address, option, signed, take

_AT_FDCWD = -100 & 0xFFFFFFFF
_LOW = 0xFFFFFFFF
_EINPROGRESS = errno.EINPROGRESS

Respond = Callable[[Question, int], None]


class NetworkAnswers:
    """Answers connect, bind and listen. `respond` answers a question with an errno, later.

    `made`: where the sockets are made here, because they cannot be taken.
    """

    def __init__(
        self, desk: Desk, deputy: DeputyClient, sends: SendAnswers, respond: Respond, made: MadeSockets | None
    ) -> None:
        self._desk = desk
        self._deputy = deputy
        self._respond = respond
        self._made = made
        self._own_ports = OwnPorts(desk.processes, made)
        self._may_be_udp = desk.udp and made is None
        self._sends = sends
        self.connections = Connections(made)
        self.claims: tuple[int, int] | None = None  # device and inode of the session's claims socket

    def answer(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """connect, bind and listen. Nothing is done on a socket that cannot be taken: what it is is not known."""
        act, kind = {
            "connect": (self.connect, "connect"),
            "bind": (self.bind, "bind"),
            "listen": (self.listen, "bind"),
        }[name]
        try:
            return act(desk, process, question, name)
        except Spent:
            return Fail(errno.EINVAL)  # as the kernel says of a socket that is connected
        except NotTaken as problem:
            named = name != "listen"
            address = _address(question, *question.arguments[1:3])[0] if named else Address("other", "", 0)
            more = {"operation": name} if kind == "bind" else {}
            return self._refuse(kind, process, address, f"sockets-not-taken: {problem}", **more)

    def connect(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """connect: by the scope's table, done by the deputy."""
        address, raw = _address(question, question.arguments[1], question.arguments[2])
        try:
            return self._connect_to(desk, process, question, address, raw)
        except Spent as problem:
            if address.family == "unspecified":
                clause = "sockets-not-taken: a connected socket gets no second connection"
                return self._refuse("connect", process, address, clause)
            # Nothing is connected by this call, whatever it names and whatever it is told.
            self._record("connect", process, address, errno.EISCONN, False, "", "")
            return Fail(problem.error) if problem.error else Return(0)

    def _connect_to(self, desk: Desk, process: Process, question: Question, address: Address, raw: bytes) -> Answer:
        if self._made is not None:
            self._made.before_connect(address.port)
        if address.family in ("inet", "inet6"):
            with self._kind(process, question) as (taken, datagrams):
                if datagrams:
                    return self._point_datagrams(taken, process, question, address, raw)
                grant = desk.grants(process).connect.covering(address)
                if grant is None:
                    return self._uncovered("connect", process, question, address, raw, "network.connect", taken)
                if grant.own and not desk.plan.observe:
                    return self._connect_own(taken, process, question, address, raw, grant.clause)
                return self._delegate("connect", process, question, address, raw, grant.clause, taken=taken)
        if address.family == "unix":
            return self._delegate("connect", process, question, address, raw, "network.unix")
        if address.family == "unspecified":
            return self._delegate("connect", process, question, address, raw, "")
        return self._refuse("connect", process, address, "network.connect")

    def bind(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """bind: TCP by the scope's table; unix sockets wherever Landlock lets the deputy make one."""
        address, raw = _address(question, question.arguments[1], question.arguments[2])
        if address.family in ("inet", "inet6"):
            with self._kind(process, question) as (taken, datagrams):
                if datagrams and address.port == 0:
                    # Some port to be answered on, as a send without bind gets by itself.
                    return self._delegate("bind", process, question, address, raw, "network.udp", taken=taken)
                grant = None if datagrams else desk.grants(process).listen.covering(address)
                if datagrams:
                    return self._refuse("bind", process, address, "network.udp", operation="bind")
                if grant is None:
                    return self._uncovered("bind", process, question, address, raw, "network.listen", taken)
                return self._delegate("bind", process, question, address, raw, grant.clause, taken=taken)
        if address.family == "unix":
            return self._delegate("bind", process, question, address, raw, "files.write")
        with self._kind(process, question) as (taken, _):
            netlink = option(taken.descriptor(), socket.SO_DOMAIN) == socket.AF_NETLINK
            # Only route netlink sockets exist inside the boundary, and binding one reaches nobody.
            if netlink and self._may_be_udp:  # or a datagram socket, put in its place meanwhile
                return self._delegate("bind", process, question, address, raw, "", taken=taken)
        return Proceed() if netlink else self._refuse("bind", process, address, "network.listen", operation="bind")

    def listen(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """listen: a TCP socket must be bound to a granted port, for listen alone would pick one by itself."""
        taken = take(process, question, self._made)
        clause, observed = "", False
        address = Address("unix", "", 0)
        try:
            unix = option(taken, socket.SO_DOMAIN) == socket.AF_UNIX
            if not unix:
                address = local_address(taken)
        except OSError:
            close_promptly(taken)
            raise
        if not unix:
            grant = desk.grants(process).listen.covering(address) if address.port else None
            if grant is None and not desk.plan.observe:
                close_promptly(taken)
                return self._refuse("bind", process, address, "network.listen", operation="listen")
            clause, observed = (grant.clause, False) if grant else ("network.listen", True)
        request: Message = {"do": "listen", "backlog": signed(question.arguments[1])}
        made = os.fstat(taken).st_ino
        self._ask(
            request,
            (taken,),
            process,
            question,
            address,
            clause,
            "bind",
            operation="listen",
            made=made,
            observed=observed,
        )
        return Later()

    @contextmanager
    def _kind(self, process: Process, question: Question) -> Iterator[tuple[Taken, bool]]:
        """The caller's socket, and whether it is UDP: judged and acted on once taken, for it may be swapped.

        Not taken before it is needed where no scope grants UDP, for then there is none.
        """
        taken = Taken(process, question, self._made)
        try:
            yield taken, self._may_be_udp and is_datagram(taken.descriptor())
        finally:
            taken.close()

    def _point_datagrams(
        self, taken: Taken, process: Process, question: Question, address: Address, raw: bytes
    ) -> Answer:
        """connect on UDP sends nothing; it says whom sends without an address go to."""
        grant = self._desk.grants(process).udp.covering(address) if address.port else None
        if grant is None:
            self._sends.note(process, "connect", address, errno.EACCES, "network.udp")
            return Fail(errno.EACCES)
        clause = grant.clause

        def finish(outcome: Message) -> None:
            self._sends.note(process, "connect", address, int(outcome["errno"]), clause)
            self._respond(question, int(outcome["errno"]))

        self._deputy.ask({"do": "connect", "address": raw.hex()}, (taken.hand_over(),), process, finish)
        return Later()

    def _connect_own(
        self, taken: Taken, process: Process, question: Question, address: Address, raw: bytes, clause: str
    ) -> Answer:
        """A port of loopback, if every socket that listens there is the session's own."""
        made = os.fstat(taken.descriptor()).st_ino
        tables = tcp_table.open_tables()
        found = self._own_ports.hold(raw, tables)
        if found and found[0]:
            inodes, held = found
            request: Message = {"do": "connect", "address": raw.hex(), "own": len(tables), "listeners": inodes}
            descriptors = (taken.hand_over(), *tables, *held)
            self._ask(request, descriptors, process, question, address, clause, "connect", made=made)
            return Later()
        for number in tables:
            os.close(number)
        if found is None:
            return self._refuse("connect", process, address, clause)
        self._record("connect", process, address, errno.ECONNREFUSED, False, "", clause)
        return Fail(errno.ECONNREFUSED)

    def _uncovered(
        self,
        operation: str,
        process: Process,
        question: Question,
        address: Address,
        raw: bytes,
        clause: str,
        taken: Taken,
    ) -> Answer:
        """What no grant covers: refused, or done and recorded because the session observes."""
        if self._desk.plan.observe:
            return self._delegate(operation, process, question, address, raw, clause, taken=taken, observed=True)
        more = {"operation": operation} if operation == "bind" else {}
        return self._refuse(operation, process, address, clause, **more)

    def _delegate(
        self,
        operation: str,
        process: Process,
        question: Question,
        address: Address,
        raw: bytes,
        clause: str,
        *,
        taken: Taken | None = None,
        observed: bool = False,
    ) -> Answer:
        if address.path is not None and views.is_foreign(question.pid):
            if operation == "connect" and not resolve(question.pid, _AT_FDCWD, address.path)[1]:
                self._record("connect", process, address, errno.ENOENT, False, "", clause)
                return Fail(errno.ENOENT)
            more = {"operation": operation} if operation == "bind" else {}
            return self._refuse(operation, process, address, views.CLAUSE, **more)
        descriptors = [(taken or Taken(process, question, self._made)).hand_over()]
        made = os.fstat(descriptors[0]).st_ino
        request: Message = {"do": operation, "address": raw.hex()}
        try:
            if address.path is not None:
                request |= {"path": address.path, "here": self._desk.plan.view}
                directory = f"/proc/{question.pid}/cwd"
                descriptors.append(os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                if operation == "bind":
                    request["umask"] = proc.file_mode_mask(question.pid)
                    if self._desk.plan.phases and not self._desk.plan.observe:
                        request["trees"] = self._desk.grants(process).files.trees("write")
                else:
                    request["granted"] = list(self._desk.grants(process).unix)
                    request["claims"] = self.claims
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
            taken = kind == "bind" and error == errno.EADDRINUSE
            if taken and self._try_again(request, process, address, made, finish):
                return
            if self._made is not None:
                self._let_go(self._made, made, operation or kind, process, question, address, error)
            if kind == "connect" and error in (0, _EINPROGRESS) and address.port:
                self.connections.add(made, process, address)
            if outcome.get("refused"):
                wall = "unix-sockets" if address.family == "unix" else "addresses"
            else:
                wall = self._landlock_wall(process, kind, question, address, error)
            if observed or outcome.get("uncovered") or self._binds_elsewhere(process, kind, question, address, error):
                more["observed"] = True
            if address.family != "unspecified":
                cited = "claims" if outcome.get("claims") else clause
                self._record(kind, process, address, error, bool(wall), wall, cited, **more)
            if operation == "listen" and error == 0:
                self._own_ports.add(made, process, signed(question.arguments[0]))
            self._respond(question, error)

        self._deputy.ask(request, descriptors, process, finish)

    def _try_again(
        self, request: Message, process: Process, address: Address, made: int, finish: Callable[[Message], None]
    ) -> bool:
        """Whether it is worth it: the port may be one that the agent has given back, and that only we still held."""
        if self._made is None or address.path is not None or not self._made.sweep():
            return False
        again = self._made.duplicate(made)
        if again is not None:
            self._deputy.ask(request, (again,), process, finish)
        return again is not None

    def _let_go(
        self,
        sockets: MadeSockets,
        made: int,
        operation: str,
        process: Process,
        question: Question,
        address: Address,
        error: int,
    ) -> None:
        """What was done on a socket that was made here decides how long it is held."""
        place = f"/proc/{question.pid}/fd/{signed(question.arguments[0])}"
        if operation == "bind" and not error:
            sockets.bound(made, process.identity)
        elif operation == "listen" and not error:
            sockets.listening(made, place)
        elif operation == "connect" and address.family != "unspecified":
            if error in (0, errno.EISCONN):
                sockets.connected(made, place)
            elif error in (_EINPROGRESS, errno.EALREADY):
                sockets.connecting(made, place)

    def _binds_elsewhere(self, process: Process, kind: str, question: Question, address: Address, error: int) -> bool:
        """Whether a socket was made, while observing, where no grant lets a file be made."""
        if not self._desk.plan.observe or kind != "bind" or address.path is None or error:
            return False
        return granted(self._desk, process, resolve(question.pid, _AT_FDCWD, address.path)[0], "write") is None

    def _landlock_wall(self, process: Process, kind: str, question: Question, address: Address, error: int) -> str:
        """Which of Landlock's walls gave the deputy this errno for a unix socket, or "" when none did."""
        if address.family != "unix":
            return ""
        if kind == "connect":
            if address.path is not None and error == errno.ENOENT:
                place, _ = resolve(question.pid, _AT_FDCWD, address.path)
                return "unix-sockets" if views.is_hidden(question.pid, place) else ""
            return "abstract-sockets" if error == errno.EPERM and address.path is None else ""
        if error not in (errno.EACCES, errno.EROFS) or address.path is None:
            return ""
        place, _ = resolve(question.pid, _AT_FDCWD, address.path)
        return "files" if granted(self._desk, process, place, "write") is None else ""

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
