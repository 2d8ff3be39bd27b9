"""Sockets that the supervisor makes for the agent, where it could not take them: what is acted on is the agent's own.

The agent gets a descriptor of a socket that was made here, and a duplicate stays until the socket is connected. So a
later connect, bind or listen finds again, by the inode, the very socket that the agent names, with its options and all
its duplicates. A duplicate kept for longer would hold back the end of the agent's own close.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import socket
import time
from collections.abc import Callable

from remit.kernel import proc
from remit.kernel.closing import close_promptly
from remit.supervisor.connections import Watch

_SPENT_MAX = 4096
_PRIORITY = 4


class Spent(Exception):
    """The socket was made here and is connected: nothing more can be done with it for the agent."""


class MadeSockets:
    """The sockets that were made, by inode. `present` tells every process of the session that is there."""

    def __init__(self, selector: selectors.BaseSelector, present: Callable[[], set[int]]) -> None:
        self.most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
        self._selector = selector
        self._present = present
        self._held: dict[int, int] = {}
        self._listening: dict[int, int] = {}  # inode -> port, 0 for a unix socket
        self._awaited: set[int] = set()  # inodes whose connect is under way
        self._spent: dict[int, None] = {}
        self._not_before = 0.0

    def make(self, family: int, kind: int, protocol: int) -> int:
        """A new socket, which stays ours; raises OSError."""
        if len(self._held) >= self.most and not self.sweep():
            raise OSError(errno.EMFILE, "sockets held")
        descriptor = socket.socket(family, kind, protocol).detach()
        inode = os.fstat(descriptor).st_ino
        self._spent.pop(inode, None)  # of another life of this number
        self._held[inode] = descriptor
        return descriptor

    def find(self, thread: int, number: int) -> int:
        """A duplicate of the socket that a thread's descriptor names, the caller's to close.

        Raises OSError: EBADF, ENOTSOCK, or EPERM for a socket that is none of these; Spent for one that is connected.
        """
        try:
            target = proc.read_link(f"/proc/{thread}/fd/{number}")
        except ProcessLookupError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        if not target.startswith("socket:["):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        inode = int(target[8:-1])
        if inode in self._spent:
            raise Spent
        descriptor = self.duplicate(inode)
        if descriptor is None:
            raise PermissionError(errno.EPERM, "the socket was not made by the supervisor, or was connected long ago")
        return descriptor

    def duplicate(self, inode: int) -> int | None:
        """A duplicate of a socket that is held, the caller's to close."""
        return os.dup(self._held[inode]) if inode in self._held else None

    def connected(self, inode: int) -> None:
        """A socket is connected, so let go of it."""
        if inode not in self._held:
            return
        self._drop(inode)
        if len(self._spent) >= _SPENT_MAX:
            del self._spent[next(iter(self._spent))]
        self._spent[inode] = None

    def connecting(self, inode: int) -> None:
        """A connect is under way: let go of the socket as soon as it is connected; one that failed may try again."""
        if inode in self._held and inode not in self._awaited:
            self._awaited.add(inode)
            watch = Watch(_PRIORITY, lambda events: self._settled(inode))
            self._selector.register(self._held[inode], selectors.EVENT_WRITE, watch)

    def listening(self, inode: int) -> None:
        """A socket listens now; it stays held, for whoever connects to it must be able to tell that it is ours."""
        if inode in self._held:
            self._listening[inode] = _port(self._held[inode])

    def before_connect(self, port: int) -> None:
        """Somebody connects to this port, 0 for a path: a listener that the agent has closed must not answer."""
        if port in self._listening.values():
            self.sweep()

    def sweep(self) -> int:
        """Let go of the sockets that nobody in the session has any more; how many. Never takes most of our time."""
        began = time.monotonic()
        if not self._held or began < self._not_before:
            return 0
        used = self._used()
        gone = [inode for inode in self._held if inode not in used]
        for inode in gone:
            self._drop(inode)
        ended = time.monotonic()
        self._not_before = ended + 3 * (ended - began)
        return len(gone)

    def _settled(self, inode: int) -> None:
        self._forget_watch(inode)
        if is_connected(self._held[inode]):
            self.connected(inode)

    def _used(self) -> set[int]:
        """The inodes of every socket that a process of the session has. One that only travels (SCM_RIGHTS) is none."""
        used: set[int] = set()
        seen: set[int] = set()
        while new := self._present() - seen:  # until nobody is new: who was just forked may have what its parent closed
            for pid in new:
                used |= _inodes(pid)
            seen |= new
        return used

    def _drop(self, inode: int) -> None:
        self._forget_watch(inode)
        self._listening.pop(inode, None)
        close_promptly(self._held.pop(inode))

    def _forget_watch(self, inode: int) -> None:
        if inode in self._awaited:
            self._awaited.discard(inode)
            self._selector.unregister(self._held[inode])


def is_connected(descriptor: int) -> bool:
    """Whether a socket has a peer. It leaves the agent's SO_ERROR alone."""
    holder = socket.socket(fileno=descriptor)
    try:
        holder.getpeername()
    except OSError:
        return False
    finally:
        holder.detach()
    return True


def _port(descriptor: int) -> int:
    """The port that a socket is bound to, 0 for a unix socket."""
    holder = socket.socket(fileno=descriptor)
    try:
        return 0 if holder.family == socket.AF_UNIX else int(holder.getsockname()[1])
    finally:
        holder.detach()


def _inodes(pid: int) -> set[int]:
    try:
        return set(proc.socket_inodes(pid).values())
    except (ProcessLookupError, PermissionError):
        pass
    # The first thread may have ended, and the table be that of the others.
    for thread in proc.threads(pid):
        try:
            return set(proc.socket_inodes(thread).values())
        except (ProcessLookupError, PermissionError):
            continue
    return set()
