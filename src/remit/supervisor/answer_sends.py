"""Sends that may name an address. Where the scope grants UDP, each is done by the deputy, from copies.

The address of a datagram lies in memory that another thread can change, and so does the question whether there is one:
sendmsg keeps it behind a pointer. So no such call goes on by itself once a datagram socket can exist. The socket is
taken, message and address are copied once, judged, and sent from the copies. Without a UDP grant there is no datagram
socket but of route netlink, and everything with an address is refused.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from remit.kernel import proc
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.protocol import Message
from remit.supervisor.addresses import SOCKADDR_MAX, Address, decode
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed, record_refusal
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.processes import Process
from remit.supervisor.taken import option, take

_LOW = 0xFFFFFFFF
_MSG_FASTOPEN = 0x20000000
# What changes how a message is sent, not what becomes of our own memory (MSG_ZEROCOPY) or the next message.
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_DONTROUTE | socket.MSG_EOR | socket.MSG_MORE | socket.MSG_OOB | 0x800
_DATA_MAX = 1 << 16  # a stream is told that so much was sent; no datagram is longer
_MESSAGES_MAX = 64  # of one sendmmsg; the caller is told how many went
_VECTORS_MAX = 1024  # UIO_MAXIOV
_NOTED_MAX = 4096
# struct msghdr: name, its length, vectors, their count, control, its length, flags. struct mmsghdr adds a length.
_HEADER = struct.Struct("=QI4xQQQQi4x")
_MANY = _HEADER.size + 8
_VECTOR = struct.Struct("=QQ")

Respond = Callable[[Question, int, int], None]


class _Sent(Data):
    """One message, copied. `control`: it carries more than bytes. `cut`: it was longer than we copy."""

    data: bytes
    address: bytes
    control: bool
    cut: bool


class SendAnswers:
    """Answers sendto, sendmsg and sendmmsg. `respond` answers a question with a value and an errno, later."""

    def __init__(
        self,
        desk: Desk,
        deputy: DeputyClient,
        respond: Respond,
        is_valid: Callable[[Question], bool],
        made: MadeSockets | None,
    ) -> None:
        self._desk = desk
        self._deputy = deputy
        self._respond = respond
        self._is_valid = is_valid
        self._made = made
        self._noted: set[tuple[str, int, str, int]] = set()

    def send(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """Sends that name an address, may name one, or open a connection by themselves (MSG_FASTOPEN)."""
        flags = question.arguments[2 if name == "sendmsg" else 3] & _LOW
        if flags & _MSG_FASTOPEN:
            return record_refusal(desk, "flow", process, "send", question, errno.EACCES, "network.connect")
        if not desk.udp or self._made is not None:
            return self._without_datagrams(process, question)
        taken = take(process, question, self._made)
        try:
            domain, kind = option(taken, socket.SO_DOMAIN), option(taken, socket.SO_TYPE)
            messages = _messages(question, name)
            for message in messages:
                refusal = self._judge(process, question, domain, kind, message)
                if refusal is not None:
                    close_promptly(taken)
                    return refusal
        except BaseException:
            close_promptly(taken)
            raise
        streams = domain in (socket.AF_INET, socket.AF_INET6) and kind == socket.SOCK_STREAM
        request: Message = {
            "do": "send",
            "flags": flags & _FLAGS,
            # TCP pays no heed to an address once it is connected, nor does the deputy.
            "messages": [[m.data.hex(), "" if streams else m.address.hex()] for m in messages],
        }
        self._deputy.ask(request, (taken,), process, lambda outcome: self._sent(question, name, outcome))
        return Later()

    def _without_datagrams(self, process: Process, question: Question) -> Answer:
        taken = take(process, question, self._made)
        try:
            # No datagram socket of another family can exist inside, so a swapped descriptor gains nothing.
            if option(taken, socket.SO_DOMAIN) == socket.AF_NETLINK:
                return Proceed()
        finally:
            close_promptly(taken)
        return record_refusal(self._desk, "flow", process, "send", question, errno.EACCES, "network.connect")

    def _judge(self, process: Process, question: Question, domain: int, kind: int, message: _Sent) -> Fail | None:
        if message.control:
            # Descriptors, credentials, source addresses: what is behind more pointers is not done by proxy.
            return record_refusal(
                self._desk, "flow", process, "send", question, errno.EPERM, "network.udp: control data"
            )
        if message.cut and kind != socket.SOCK_STREAM:
            return Fail(errno.EMSGSIZE)
        if not message.address or domain == socket.AF_NETLINK:
            return None
        if domain not in (socket.AF_INET, socket.AF_INET6):
            return record_refusal(self._desk, "flow", process, "send", question, errno.EACCES, "network.unix")
        if kind != socket.SOCK_DGRAM:
            return None
        address = decode(message.address)
        grant = (
            self._desk.grants(process).udp.covering(address)
            if address.family in ("inet", "inet6") and address.port
            else None
        )
        if grant is None:
            self.note(process, "send", address, errno.EACCES, "network.udp")
            return Fail(errno.EACCES)
        key = (process.identity, question.arguments[0] & _LOW, address.host, address.port)
        if key not in self._noted:
            if len(self._noted) >= _NOTED_MAX:
                self._noted.clear()
            self._noted.add(key)
            self.note(process, "send", address, 0, grant.clause)
        return None

    def note(self, process: Process, operation: str, address: Address, error: int, clause: str) -> None:
        """Record who is sent to, refused or for the first time."""
        self._desk.record(
            "flow",
            process=process.identity,
            operation=operation,
            family=address.family,
            address=address.host,
            port=address.port,
            type=socket.SOCK_DGRAM,
            protocol=socket.IPPROTO_UDP,
            errno=error,
            refused=error == errno.EACCES,
            wall="addresses" if error == errno.EACCES else "",
            clause=clause,
        )

    def _sent(self, question: Question, name: str, outcome: Message) -> None:
        counts: list[int] = outcome.get("sent", [])
        if not counts:
            self._respond(question, 0, int(outcome["errno"]) or errno.EIO)
            return
        if name == "sendmmsg":
            self._write_counts(question, counts)
        self._respond(question, len(counts) if name == "sendmmsg" else counts[0], 0)

    def _write_counts(self, question: Question, counts: list[int]) -> None:
        if not self._is_valid(question):
            return  # the caller died, and its number may be another's
        for index, count in enumerate(counts):
            place = question.arguments[1] + index * _MANY + _HEADER.size
            try:
                proc.write_memory(question.pid, place, struct.pack("=I", count))
            except OSError:
                return  # unmapped meanwhile: its own affair


def _messages(question: Question, name: str) -> list[_Sent]:
    """What is to be sent, read once. Raises OSError as the kernel would."""
    pid, arguments = question.pid, question.arguments
    if name == "sendto":
        data = proc.read_memory(pid, arguments[1], min(arguments[2], _DATA_MAX)) if arguments[2] else b""
        return [_Sent(data, _read_address(pid, arguments[4], arguments[5] & _LOW), False, arguments[2] > _DATA_MAX)]
    if name == "sendmsg":
        return [_read_message(pid, arguments[1])]
    count = min(arguments[2] & _LOW, _MESSAGES_MAX)
    if not count:
        raise OSError(errno.EINVAL, "no message")
    return [_read_message(pid, arguments[1] + index * _MANY) for index in range(count)]


def _read_message(pid: int, place: int) -> _Sent:
    fields: tuple[Any, ...] = _HEADER.unpack(proc.read_memory(pid, place, _HEADER.size))
    name, name_length, vectors, count, control, control_length, _ = fields
    if count > _VECTORS_MAX:
        raise OSError(errno.EMSGSIZE, "vectors")
    data, cut = b"", False
    table = proc.read_memory(pid, vectors, count * _VECTOR.size) if count else b""
    for base, length in _VECTOR.iter_unpack(table):
        wanted = min(length, _DATA_MAX - len(data))
        cut = cut or wanted < length
        if wanted:
            data += proc.read_memory(pid, base, wanted)
    address = _read_address(pid, name, name_length) if name else b""
    return _Sent(data, address, bool(control and control_length), cut)


def _read_address(pid: int, pointer: int, length: int) -> bytes:
    if not pointer or not length:
        return b""
    if length > SOCKADDR_MAX:
        raise OSError(errno.EINVAL, "address length")
    return proc.read_memory(pid, pointer, length)
