"""Who may steer a session: the harness that started it, over its own channel, and the same user from outside.

The path-named control socket lies in the evidence directory, which no scope can reach. A caller is checked by its
credentials: another user, or a process of the session itself, is refused, and that is recorded.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any

from remit.kernel import proc
from remit.protocol import Message
from remit.supervisor.connections import Connection, Watch
from remit.supervisor.processes import ProcessTable

CONTROL_SOCKET = "control.sock"
_CREDENTIALS = struct.Struct("=iII")
CONTROL_PRIORITY = 1


class ControlSocket:
    """Accepts control connections and hands their messages to `received`."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        directory: str,
        processes: ProcessTable,
        *,
        record: Callable[..., Any],
        received: Callable[[Connection, Message], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._selector = selector
        self._processes = processes
        self._record = record
        self._received = received
        self._lost = lost
        self._path = f"{directory}/{CONTROL_SOCKET}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # The directory's descriptor keeps the address short: sun_path holds 108 bytes.
        holder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(f"/proc/self/fd/{holder}/{CONTROL_SOCKET}")
        finally:
            os.close(holder)
        os.chmod(self._path, 0o600)
        self._socket.listen(8)
        selector.register(self._socket, selectors.EVENT_READ, Watch(CONTROL_PRIORITY, self._accept))

    def close(self) -> None:
        self._selector.unregister(self._socket)
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self, events: int) -> None:
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        pid, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        insider = self._processes.owner(pid)
        if not stands_outside(self._processes, pid, user):
            if insider is None and _has_left(peer):
                peer.close()  # somebody looked whether we are there, and went before we could see who it was
                return
            self._record(
                "privilege",
                process=insider.identity if insider else None,
                operation="control",
                arguments=[pid, user],
                errno=13,
                refused=True,
                wall="control",
                clause="only the session's own user, from outside, may steer it",
            )
            peer.close()
            return
        Connection(self._selector, peer, priority=CONTROL_PRIORITY, received=self._received, lost=self._lost)


def stands_outside(processes: ProcessTable, pid: int, user: int) -> bool:
    """Whether it is this user's, or root's, and none of the session's processes nor of those that serve it."""
    return user in (0, os.getuid()) and processes.owner(pid) is None and not _is_below_us(pid)


def _has_left(peer: socket.socket) -> bool:
    """Whether the other side hung up without a word."""
    try:
        return not peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _is_below_us(pid: int) -> bool:
    """Whether the caller descends from the supervisor, as the zygote, the deputy and every process of the agent do.

    One that is gone, or that no chain of parents leads away from, is not known to come from outside.
    """
    ours = os.getpid()
    try:
        while pid != ours and pid > 1:
            pid = proc.read_stat(pid).parent
    except ProcessLookupError:
        return True
    return pid == ours
