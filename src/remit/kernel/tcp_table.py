"""Who listens on a TCP address: the kernel's tables /proc/net/tcp and tcp6, read through descriptors opened before."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable

_LISTENS = b"0A"
_ANY4, _ANY6 = bytes(4), bytes(16)
_MAPPED = bytes(10) + b"\xff\xff"


def open_tables() -> list[int]:
    """Descriptors of the tables; there is none for IPv6 where that is switched off."""
    paths = (f"/proc/net/{name}" for name in ("tcp", "tcp6"))
    return [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths if os.path.exists(path)]


def listeners(address: bytes, tables: Iterable[int]) -> set[int]:
    """Inodes of the sockets that could answer at `address`, a struct sockaddr_in or sockaddr_in6."""
    (family,) = struct.unpack_from("=H", address)
    (port,) = struct.unpack_from("!H", address, 2)
    host = address[4:8] if family == socket.AF_INET else address[8:24]
    if host.startswith(_MAPPED):
        host = host[12:]
    # A wildcard of IPv6 may take IPv4 too; the table does not say, so it counts.
    answering = {host, _ANY4, _ANY6, _MAPPED + host} if len(host) == 4 else {host, _ANY6}
    found = set()
    for table in tables:
        for line in _listening(table):
            place, _, number = line[1].partition(b":")
            if int(number, 16) == port and _network_order(place) in answering:
                found.add(int(line[9]))
    return found


def _listening(table: int) -> list[list[bytes]]:
    """The kernel lists sockets that listen first, and of the others there may be very many."""
    data, offset = b"", 0
    while piece := os.pread(table, 65536, offset):
        offset += len(piece)
        data += piece
        whole = data.split(b"\n")[1:-1]
        if whole and whole[-1].split()[3] != _LISTENS:
            break
    lines = (line.split() for line in data.split(b"\n")[1:])
    return [line for line in lines if line[3:4] == [_LISTENS]]


def _network_order(place: bytes) -> bytes:
    """The table prints 32-bit words as the machine reads them."""
    words = [int(place[at : at + 8], 16) for at in range(0, len(place), 8)]
    return b"".join(word.to_bytes(4, sys.byteorder) for word in words)
