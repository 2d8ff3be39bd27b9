"""Samples of granted connections: bytes each way, and the first bytes that wait unread, if any.

A connection is known by its socket's inode, whatever number it has and whichever process of the session holds it by
now. A duplicate of it is held only while it is read, because holding one delays the FIN of its own close.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from remit.kernel import pidfd, proc
from remit.kernel.closing import close_promptly
from remit.kernel.tcp_diag import BYTES_ACKED, BYTES_ACKED_OFFSET, TCP_INFO_SIZE
from remit.plain import Data
from remit.supervisor.addresses import Address
from remit.supervisor.first_words import PEEK_BYTES
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.processes import Process, ProcessTable


class _Connection(Data):
    process: str  # the identity of whoever made it
    address: Address


class Connections:
    """The connections that were granted and are still open. `made`: where the sockets are made here."""

    def __init__(self, made: MadeSockets | None) -> None:
        self._made = made
        self._by_inode: dict[int, _Connection] = {}

    def add(self, inode: int, process: Process, address: Address) -> None:
        self._by_inode[inode] = _Connection(process.identity, address)

    def maker(self, inode: int, place: tuple[str, int]) -> str | None:
        """The identity of the process that connected to this place by the socket of this inode."""
        connection = self._by_inode.get(inode)
        if connection is None or (connection.address.host, connection.address.port) != place:
            return None
        return connection.process

    def sample(self, processes: ProcessTable) -> list[dict[str, Any]]:
        """The members of one `flow` record for each connection that somebody still holds; forgets the others.

        Reads the descriptors of every process of the session, and of none when nothing is connected.
        """
        if not self._by_inode:
            return []
        holders = {} if self._made is not None else _find_holders(processes, self._by_inode)
        samples = []
        for inode, connection in list(self._by_inode.items()):
            if self._made is not None:
                sample = self._made.sample(inode)
            else:
                sample = _sample(*holders[inode], inode) if inode in holders else None
            if sample is None:
                del self._by_inode[inode]
                continue
            address = connection.address
            samples.append(
                {
                    "process": connection.process,
                    "operation": "sample",
                    "address": address.host,
                    "port": address.port,
                    **sample,
                }
            )
        return samples


def _find_holders(processes: ProcessTable, wanted: dict[int, _Connection]) -> dict[int, tuple[Process, int]]:
    """By inode, a process and the number that a wanted socket has there."""
    holders: dict[int, tuple[Process, int]] = {}
    for process in processes:
        try:
            held = proc.socket_inodes(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
        for number, inode in held.items():
            if inode in wanted:
                holders.setdefault(inode, (process, number))
    return holders


def _sample(process: Process, number: int, inode: int) -> dict[str, Any] | None:
    try:
        taken = pidfd.take_descriptor(process.pidfd, number)
    except OSError:
        return None
    try:
        if os.fstat(taken).st_ino != inode:
            return {"bytes_in": 0, "bytes_out": 0, "first_bytes": ""}  # moved meanwhile; the next sample finds it
        holder = socket.socket(fileno=taken)
        try:
            information = holder.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
            sent, received = BYTES_ACKED.unpack_from(information, BYTES_ACKED_OFFSET)
            return {"bytes_in": received, "bytes_out": sent, "first_bytes": _peek(holder)}
        finally:
            holder.detach()
    except (OSError, struct.error):
        return None
    finally:
        close_promptly(taken)


def _peek(holder: socket.socket) -> str:
    try:
        return os.fsdecode(holder.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return ""
