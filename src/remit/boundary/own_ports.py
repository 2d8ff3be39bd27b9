"""Connects to a server of the session's own, and to nobody who takes its port meanwhile.

Whoever calls gives the listening sockets along. They stay open while the connect is under way, so that closing them
does not free their port for somebody else; who listens is looked at before and after.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Sequence, Set

from remit.kernel.libc import socket_call
from remit.kernel.tcp_table import listeners

_UNSPECIFIED = struct.pack("=H14x", socket.AF_UNSPEC)
# On loopback a handshake needs no time unless the listener's queue is full.
_HANDSHAKE_MILLISECONDS = 3000


def connect_own(end: socket.socket, address: bytes, tables: Sequence[int], own: Set[int]) -> int:
    """Connect `end` to `address` if only the inodes `own` listen there; the errno, EACCES when somebody else does.

    `tables` are descriptors of the kernel's tables, which the walls of this process may not let it open.
    """
    if not _only(own, address, tables):
        return errno.EACCES
    error = socket_call("connect", end.fileno(), address)
    if error == errno.EINPROGRESS:
        # Not answered before it is decided: a later answer could be somebody else's.
        waiting = select.poll()
        waiting.register(end, select.POLLOUT)
        waiting.poll(_HANDSHAKE_MILLISECONDS)
    elif error:
        return error
    failed = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        end.getpeername()
    except OSError:
        # Refused, too late, or put off until the first write (TCP_FASTOPEN_CONNECT), to whoever listens then.
        socket_call("connect", end.fileno(), _UNSPECIFIED)
        return failed or errno.ETIMEDOUT
    if not _only(own, address, tables):
        socket_call("connect", end.fileno(), _UNSPECIFIED)
        return errno.EACCES
    return error


def _only(own: Set[int], address: bytes, tables: Sequence[int]) -> bool:
    found = listeners(address, tables)
    return bool(found) and found <= own
