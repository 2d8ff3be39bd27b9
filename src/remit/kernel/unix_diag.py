"""Which inode a unix socket was bound at, asked of the kernel (sock_diag(7)) and not of a path that may have changed.

Layouts are those of include/uapi/linux/{netlink,sock_diag,unix_diag}.h, the same on every architecture.
"""

from __future__ import annotations

import os
import socket
import struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_SHOW_VFS = 2  # UDIAG_SHOW_VFS
_ATTRIBUTE_VFS = 1  # UNIX_DIAG_VFS: u32 inode, u32 device
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req: family, protocol, pad, states, inode, show, cookie
_ANSWER_SIZE = 16  # struct unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_VFS = struct.Struct("=II")


def bound_inode(descriptor: int) -> int | None:
    """The low 32 bits of the inode that the socket is bound at; None when it is bound at none.

    Raises OSError when this kernel has no unix_diag, or lets nobody ask.
    """
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _ALL_STATES, os.fstat(descriptor).st_ino, _SHOW_VFS, _NO_COOKIE, _NO_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diagnosis:
        diagnosis.send(header + request)
        answer = diagnosis.recv(8192)
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        error = struct.unpack_from("=i", answer, _HEADER.size)[0]  # struct nlmsgerr
        raise OSError(-error, f"sock_diag: {os.strerror(-error)}")
    place = _HEADER.size + _ANSWER_SIZE
    while place + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, place)
        if attribute == _ATTRIBUTE_VFS:
            inode: int = _VFS.unpack_from(answer, place + _ATTRIBUTE.size)[0]
            return inode
        place += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return None
