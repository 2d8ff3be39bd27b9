"""What a peer says first, peeked at on a duplicate that is kept for a moment, and no longer than the agent's own.

Only for sockets that were made here: a duplicate of a connection cannot be had later, and one kept for longer would
hold back the end of the agent's close. Whether the agent still has it is looked at where it had it when it connected.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import time

from remit.kernel import proc
from remit.kernel.closing import close_promptly
from remit.plain import Data
from remit.supervisor.connections import Watch

PEEK_BYTES = 256
_PRIORITY = 4
_MOST = 32
_SECONDS = 3.0
_LOOK_SECONDS = 0.01  # the longest that a close is held back
_MANY = 4096


class _Listened(Data):
    descriptor: int
    place: str  # where the agent has it
    until: float


class FirstWords:
    """Listens to connections, by inode, from their first moment on."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._listened: dict[int, _Listened] = {}
        self._heard: dict[int, str] = {}
        self._due = 0.0

    def listen(self, inode: int, descriptor: int, place: str) -> None:
        """Listen to a connection on a descriptor that is ours from now on; the agent has it as `place` under /proc."""
        if len(self._listened) >= _MOST:
            self._leave(next(iter(self._listened)))
        now = time.monotonic()
        if not self._listened:
            self._due = now + _LOOK_SECONDS
        self._listened[inode] = _Listened(descriptor, place, now + _SECONDS)
        self._selector.register(descriptor, selectors.EVENT_READ, Watch(_PRIORITY, lambda events: self._hear(inode)))

    def heard(self, inode: int) -> str:
        """What was heard of a connection and not told before."""
        return self._heard.pop(inode, "")

    def wait(self) -> float:
        """Seconds until `look` has something to do."""
        return max(0.0, self._due - time.monotonic()) if self._listened else _SECONDS

    def look(self, *, at_once: bool = False) -> None:
        """Leave the connections that the agent has closed, and those that have been silent for long."""
        now = time.monotonic()
        if not self._listened or (now < self._due and not at_once):
            return
        self._due = now + _LOOK_SECONDS
        for inode, (_, place, until) in list(self._listened.items()):
            if now > until or not is_there(place, inode):
                self._leave(inode)

    def _hear(self, inode: int) -> None:
        said = _peek(self._listened[inode].descriptor)
        if said is None:
            return  # the agent was faster; maybe the next time
        if said:
            if len(self._heard) >= _MANY:
                del self._heard[next(iter(self._heard))]
            self._heard[inode] = os.fsdecode(said)
        self._leave(inode)

    def _leave(self, inode: int) -> None:
        descriptor = self._listened.pop(inode).descriptor
        self._selector.unregister(descriptor)
        close_promptly(descriptor)


def is_there(place: str, inode: int) -> bool:
    """Whether a descriptor under /proc is this socket."""
    try:
        return proc.read_link(place) == f"socket:[{inode}]"
    except OSError:
        return False


def _peek(descriptor: int) -> bytes | None:
    """What waits unread; None when nothing does, and nothing at the end. An error is the agent's to read."""
    events = select.poll()
    events.register(descriptor, select.POLLIN)
    found = events.poll(0)
    if found and found[0][1] & (select.POLLERR | select.POLLHUP):
        return b""
    holder = socket.socket(fileno=descriptor)
    try:
        return holder.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    finally:
        holder.detach()
