"""A socket taken from its process (pidfd_getfd), or made for it before: what is judged and what is acted on are one."""

from __future__ import annotations

import os
import socket

from remit.kernel import pidfd
from remit.kernel.closing import close_promptly
from remit.kernel.seccomp import Question
from remit.supervisor.addresses import Address
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.processes import Process

_LOW = 0xFFFFFFFF


class Taken:
    """The socket that a question is about, taken at most once. Closed by whoever it is handed to, or by `close`."""

    def __init__(self, process: Process, question: Question, made: MadeSockets | None) -> None:
        self._process, self._question, self._made = process, question, made
        self._descriptor: int | None = None

    def descriptor(self) -> int:
        if self._descriptor is None:
            self._descriptor = take(self._process, self._question, self._made)
        return self._descriptor

    def hand_over(self) -> int:
        descriptor = self.descriptor()
        self._descriptor = None
        return descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            close_promptly(self._descriptor)
            self._descriptor = None


class NotTaken(Exception):
    """pidfd_getfd is refused here, by a process's own protection; or where sockets are made, this one was not."""


def take(process: Process, question: Question, made: MadeSockets | None = None) -> int:
    """A duplicate of the descriptor that the first argument names; the caller closes it. Raises NotTaken.

    Where sockets are made here (`made`), one that was; raises Spent for one that is connected.
    """
    try:
        return _take(process, question) if made is None else made.find(question.pid, signed(question.arguments[0]))
    except PermissionError as problem:
        raise NotTaken(str(problem)) from problem


def _take(process: Process, question: Question) -> int:
    number = signed(question.arguments[0])
    if question.pid == process.pid:
        return pidfd.take_descriptor(process.pidfd, number)
    # From the thread that asks: the table that all share is not to be had from a leader that has ended.
    try:
        thread = pidfd.open_thread(question.pid)
    except OSError:
        return pidfd.take_descriptor(process.pidfd, number)  # before 6.9 only the leader can be asked
    try:
        return pidfd.take_descriptor(thread, number)
    finally:
        os.close(thread)


def signed(value: int) -> int:
    """A register as the kernel reads an int."""
    value &= _LOW
    return value - (1 << 32) if value >> 31 else value


def option(descriptor: int, name: int) -> int:
    """An option of the level SOL_SOCKET; raises OSError, ENOTSOCK for what is no socket."""
    holder = socket.socket(fileno=descriptor)
    try:
        return holder.getsockopt(socket.SOL_SOCKET, name)
    finally:
        holder.detach()


def is_datagram(descriptor: int) -> bool:
    """Whether it is a UDP socket."""
    internet = option(descriptor, socket.SO_DOMAIN) in (socket.AF_INET, socket.AF_INET6)
    return internet and option(descriptor, socket.SO_TYPE) == socket.SOCK_DGRAM


def local_address(descriptor: int) -> Address:
    """Where a TCP socket is bound."""
    holder = socket.socket(fileno=descriptor)
    try:
        name = holder.getsockname()
    finally:
        holder.detach()
    family = socket.AF_INET6 if len(name) == 4 else socket.AF_INET
    packed = socket.inet_pton(family, name[0])
    return Address("inet6" if len(name) == 4 else "inet", name[0], name[1], packed)
