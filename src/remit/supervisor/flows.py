"""Samples of granted connections: bytes each way, and the first bytes that wait unread, if any.

A duplicate of the agent's socket is held only while it is read, because holding one delays the FIN of its own close.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from remit.kernel import pidfd
from remit.supervisor.addresses import Address
from remit.supervisor.processes import ProcessTable

_PEEK_BYTES = 256
# struct tcp_info (include/uapi/linux/tcp.h): bytes_acked and bytes_received, stable since 4.1.
_BYTES_ACKED = struct.Struct("=QQ")
_BYTES_ACKED_OFFSET = 120
_TCP_INFO_SIZE = 136


def sample_flows(processes: ProcessTable, connections: dict[tuple[str, int], Address]) -> list[dict[str, Any]]:
    """The members of one `flow` record for each connection that is still open; forgets the others."""
    alive = {process.identity: process for process in processes}
    samples = []
    for key, address in list(connections.items()):
        process = alive.get(key[0])
        sample = None if process is None else _sample(process.pidfd, key[1])
        if sample is None:
            del connections[key]
            continue
        samples.append(
            {"process": key[0], "operation": "sample", "address": address.host, "port": address.port, **sample}
        )
    return samples


def _sample(process: int, number: int) -> dict[str, Any] | None:
    try:
        holder = socket.socket(fileno=pidfd.take_descriptor(process, number))
    except OSError:
        return None
    try:
        information = holder.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        sent, received = _BYTES_ACKED.unpack_from(information, _BYTES_ACKED_OFFSET)
        return {"bytes_in": received, "bytes_out": sent, "first_bytes": _peek(holder)}
    except (OSError, struct.error):
        return None
    finally:
        holder.close()


def _peek(holder: socket.socket) -> str:
    try:
        return os.fsdecode(holder.recv(_PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return ""
