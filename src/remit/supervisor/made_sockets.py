"""Sockets that are made for the agent, where they could not be taken from it: what is acted on is the agent's own.

The agent gets a descriptor of a socket that the deputy made, and a duplicate stays until the socket is connected. So a
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
from typing import Any

from remit.kernel import proc, tcp_diag
from remit.kernel.closing import close_promptly
from remit.kernel.tcp_diag import Ends
from remit.supervisor.connections import Watch
from remit.supervisor.first_words import FirstWords, is_there

_MOST = 4096
_SPENT_MAX = 4096
_INODE_BITS = 0xFFFFFFFF  # what the kernel tells of an inode's number
_PRIORITY = 4
_SHARE, _SPARE_MOST = 0.2, 0.2  # of the time, and seconds saved up, to look for what may be let go of


class Spent(Exception):
    """The socket was made for the agent and is connected: nothing more can be done with it.

    `error` is what connect says: 0 for once when it was told that the connect was under way.
    """

    def __init__(self, error: int) -> None:
        super().__init__()
        self.error = error


class MadeSockets:
    """The sockets that were made, by inode. `present` tells every process of the session that is there."""

    def __init__(self, selector: selectors.BaseSelector, present: Callable[[], set[int]]) -> None:
        self.most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self.awaited = 0  # asked for, and on their way
        self._selector = selector
        self._present = present
        self._held: dict[int, int] = {}
        self._bound: dict[int, str] = {}  # inode -> the process that bound it
        self._listening: dict[int, tuple[int, str]] = {}  # inode -> port, 0 for a unix socket, and where it was
        self._connecting: set[int] = set()  # inodes whose connect is under way
        self._spent: dict[int, Ends | None] = {}
        self._spare = _SPARE_MOST  # seconds
        self._swept = time.monotonic()
        self._worthwhile = True  # the last look found many
        self._untold: set[int] = set()  # connected, and the agent has not asked again
        self._first_words = FirstWords(selector)

    def full(self) -> bool:
        """Whether no more can be held, though what nobody has any more was let go of."""
        return len(self._held) + self.awaited >= self.most and not self.sweep(needed=self._worthwhile)

    def add(self, descriptor: int) -> None:
        """Hold a new socket, which is ours from now on."""
        inode = os.fstat(descriptor).st_ino
        self._spent.pop(inode, None)  # of another life of this number
        self._untold.discard(inode)
        self._held[inode] = descriptor

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
            error = 0 if inode in self._untold else errno.EISCONN
            self._untold.discard(inode)
            raise Spent(error)
        descriptor = self.duplicate(inode)
        if descriptor is None:
            raise PermissionError(errno.EPERM, "it was not made here, or is long connected")
        return descriptor

    def duplicate(self, inode: int) -> int | None:
        """A duplicate of a socket that is held, the caller's to close."""
        return os.dup(self._held[inode]) if inode in self._held else None

    def connected(self, inode: int, place: str) -> None:
        """A socket is connected, so let go of it, but for its first words; the agent has it as `place` under /proc."""
        if inode not in self._held:
            return
        if len(self._spent) >= _SPENT_MAX:
            oldest = next(iter(self._spent))
            del self._spent[oldest]
            self._untold.discard(oldest)
        ends = self._spent[inode] = _ends(self._held[inode])
        if ends is not None:
            self._first_words.listen(inode, os.dup(self._held[inode]), place)
        self._drop(inode)

    def connecting(self, inode: int, place: str) -> None:
        """A connect is under way: let go of the socket as soon as it is connected; one that failed may try again."""
        if inode in self._held and inode not in self._connecting:
            self._connecting.add(inode)
            watch = Watch(_PRIORITY, lambda events: self._settled(inode, place))
            self._selector.register(self._held[inode], selectors.EVENT_WRITE, watch)

    def sample(self, inode: int) -> dict[str, Any] | None:
        """What a connection has carried so far, and its first bytes, if any; None when it is over."""
        said = self._first_words.heard(inode)
        if inode in self._held:
            return {"bytes_in": 0, "bytes_out": 0, "first_bytes": ""}
        ends = self._spent.get(inode)
        try:
            found = tcp_diag.carried(ends) if ends is not None else None
        except OSError:
            found = tcp_diag.Carried(os.getuid(), inode, 0, 0) if said else None
        if found is None or found.inode != inode & _INODE_BITS:
            return None
        return {"bytes_in": found.received, "bytes_out": found.sent, "first_bytes": said}

    def wait(self) -> float:
        """Seconds until `look` has something to do."""
        return self._first_words.wait()

    def look(self) -> None:
        """What is due every few moments."""
        self._first_words.look()

    def listening(self, inode: int, place: str) -> None:
        """A socket listens now; it stays held, for whoever connects to it must be able to tell that it is ours."""
        if inode in self._held:
            self._listening[inode] = _port(self._held[inode]), place

    def before_connect(self, port: int) -> None:
        """Somebody connects to this port, 0 for a path: a listener that the agent has closed must not answer."""
        if any(port == its and not is_there(place, inode) for inode, (its, place) in self._listening.items()):
            self.sweep()

    def bound(self, inode: int, owner: str) -> None:
        """A process has bound a socket."""
        if inode in self._held:
            self._bound[inode] = owner

    def ended(self, owner: str | None = None) -> None:
        """A process has ended, or a program and whatever it ran: what it had is closed."""
        self._first_words.look(at_once=True)
        if self._bound if owner is None else owner in self._bound.values():
            self.sweep(needed=True)

    def sweep(self, *, needed: bool = False) -> int:
        """Let go of the sockets that nobody in the session has any more; how many.

        What is not `needed` takes a share of our time at most, whatever the agent does.
        """
        began = time.monotonic()
        self._spare = min(_SPARE_MOST, self._spare + (began - self._swept) * _SHARE)
        self._swept = began
        if not self._held or (self._spare <= 0 and not needed):
            return 0
        used = self._used()
        gone = [inode for inode in self._held if inode not in used]
        for inode in gone:
            self._drop(inode)
        self._worthwhile = len(gone) > self.most // 4
        self._spare = max(-_SPARE_MOST, self._spare - (time.monotonic() - began))
        return len(gone)

    def _settled(self, inode: int, place: str) -> None:
        self._forget_watch(inode)
        if _is_connected(self._held[inode]):
            self._untold.add(inode)
            self.connected(inode, place)

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
        self._bound.pop(inode, None)
        self._listening.pop(inode, None)
        close_promptly(self._held.pop(inode))

    def _forget_watch(self, inode: int) -> None:
        if inode in self._connecting:
            self._connecting.discard(inode)
            self._selector.unregister(self._held[inode])


def _is_connected(descriptor: int) -> bool:
    """Whether a socket has a peer. It leaves the agent's SO_ERROR alone."""
    holder = socket.socket(fileno=descriptor)
    try:
        holder.getpeername()
    except OSError:
        return False
    finally:
        holder.detach()
    return True


def _ends(descriptor: int) -> Ends | None:
    """The ends of a TCP connection; None for another socket, or one that is cut already."""
    holder = socket.socket(fileno=descriptor)
    try:
        return tcp_diag.ends_of(holder) if holder.family in (socket.AF_INET, socket.AF_INET6) else None
    except OSError:
        return None
    finally:
        holder.detach()


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
