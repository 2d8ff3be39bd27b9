"""What one TCP connection has carried, asked of the kernel by its two ends (sock_diag(7)), without a descriptor of it.

Layouts are those of include/uapi/linux/{netlink,sock_diag,inet_diag,tcp}.h, the same on every architecture.
"""

from __future__ import annotations

import os
import socket
import struct

from remit.plain import Data

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ATTRIBUTE_INFO = 2  # INET_DIAG_INFO: struct tcp_info
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # struct inet_diag_req_v2: family, protocol, what more, states; then the socket
_SOCKET = struct.Struct("!HH16s16s4x8s")  # struct inet_diag_sockid: both ports, both addresses, interface, cookie
_USER_OFFSET = 64  # in struct inet_diag_msg; the inode follows
_ANSWER_SIZE = 72
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
# struct tcp_info: bytes_acked and bytes_received, stable since 4.1.
BYTES_ACKED = struct.Struct("=QQ")
BYTES_ACKED_OFFSET = 120
TCP_INFO_SIZE = 136


class Ends(Data):
    """The two ends of a connection, addresses as the network has them."""

    family: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


class Carried(Data):
    """Bytes so far, the user whose the socket is, and its inode, 0 when it is in no process any more."""

    user: int
    inode: int
    received: int
    sent: int


def ends_of(holder: socket.socket) -> Ends:
    """The ends of a TCP socket; raises OSError when it is not connected."""
    local, remote = holder.getsockname(), holder.getpeername()
    here, there = (socket.inet_pton(holder.family, name[0].partition("%")[0]) for name in (local, remote))
    return Ends(holder.family, here, local[1], there, remote[1])


def carried(ends: Ends) -> Carried | None:
    """What the connection has carried; None when there is none. Raises OSError when this kernel lets nobody ask."""
    place = _SOCKET.pack(ends.local_port, ends.remote_port, ends.local, ends.remote, _NO_COOKIE)
    request = _REQUEST.pack(ends.family, socket.IPPROTO_TCP, 1 << (_ATTRIBUTE_INFO - 1), _ALL_STATES) + place
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diagnosis:
        diagnosis.send(header + request)
        answer = diagnosis.recv(8192)
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        error = -struct.unpack_from("=i", answer, _HEADER.size)[0]  # struct nlmsgerr
        if error in (2, 0):  # ENOENT
            return None
        raise OSError(error, f"sock_diag: {os.strerror(error)}")
    user, inode = struct.unpack_from("=II", answer, _HEADER.size + _USER_OFFSET)
    sent, received = BYTES_ACKED.unpack_from(_information(answer[:length]), BYTES_ACKED_OFFSET)
    return Carried(user, inode, received, sent)


def _information(answer: bytes) -> bytes:
    place = _HEADER.size + _ANSWER_SIZE
    while place + _ATTRIBUTE.size <= len(answer):
        size, attribute = _ATTRIBUTE.unpack_from(answer, place)
        if attribute == _ATTRIBUTE_INFO:
            return answer[place + _ATTRIBUTE.size : place + size].ljust(TCP_INFO_SIZE, b"\0")
        place += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return bytes(TCP_INFO_SIZE)
