"""Claims: what processes of the session say of their own steps. They are recorded with who said it, and never believed.

The socket is reached like any other: the agent's connect is a question, and the deputy does it. So who connects by
itself stands outside and is turned away, and who sent each line the kernel says (SCM_CREDENTIALS), which is good for
descriptors that were passed on, too. Nobody gets an answer. Whatever is too much, too long or no claim is counted.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from remit.claims import DEEPEST, LINE_MAX, WORD_MAX
from remit.kernel import proc
from remit.supervisor.connections import Watch
from remit.supervisor.control import CONTROL_PRIORITY
from remit.supervisor.processes import ProcessTable

CONNECTIONS_MAX = 64  # the one that has been silent longest makes room
RATE, BURST = 50.0, 1000.0  # claims a second, and at once; a claim of n KiB counts as n more
_CREDENTIALS = struct.Struct("=iII")
_WORDS = ("tool", "source", "group", "within")
_OUTSIDER = "claims are made by the session's own processes"


class NoClaim(Exception):
    """What was sent is not a claim; the reason."""


class ClaimsSocket:
    """Listens at `path`; `deputy` is the process that connects for the session. `inode` is what may be connected to."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        path: str,
        deputy: int,
        processes: ProcessTable,
        record: Callable[..., Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._selector = selector
        self._deputy = deputy
        self._processes = processes
        self._record = record
        self._clock = clock
        self._tokens, self._at, self._settled = BURST, clock(), clock()
        self._open: dict[_Speaker, None] = {}  # the longest silent first
        self._dropped: dict[str, int] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # accepted sockets inherit it
        before = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(before)
        self._listener.listen(CONNECTIONS_MAX)
        # Held open, so that its number cannot become another's while it stands for a grant.
        self._held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self._held)
        self.inode = (found.st_dev, found.st_ino)
        selector.register(self._listener, selectors.EVENT_READ, Watch(CONTROL_PRIORITY, self._accept))

    def settle(self, *, now: bool = False) -> None:
        """Record what was dropped; once a second, so that a flood does not come back as a flood of records."""
        if not now and self._clock() - self._settled < 1:
            return
        self._settled = self._clock()
        for reason, count in sorted(self._dropped.items()):
            self._record("loss", **{"class": "claim"}, count=count, reason=reason)
        self._dropped.clear()

    def drop(self, reason: str, count: int = 1) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def spend(self, cost: float) -> bool:
        """Whether a claim of this cost may still be recorded."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._at) * RATE)
        self._at = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def heard(self, line: bytes, sender: int) -> None:
        """Record one line of what a process sent."""
        if not self.spend(1 + len(line) / 1024):
            return self.drop("more claims than are taken down")
        try:
            members = read_claim(line)
        except NoClaim as problem:
            return self.drop(f"not a claim: {problem}")
        process = self._processes.find(sender)
        if process is None and not self._has_ended(sender):
            return self._refuse(sender)
        self._record("claim", process=process.identity if process else None, **members)

    def touched(self, speaker: _Speaker) -> None:
        self._open[speaker] = self._open.pop(speaker, None)

    def gone(self, speaker: _Speaker) -> None:
        self._open.pop(speaker, None)

    def _accept(self, events: int) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        pid, _, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if pid != self._deputy:
            peer.close()
            if self.spend(1):
                self._refuse(pid)
            else:
                self.drop("more callers from outside than are taken down")
            return
        if len(self._open) >= CONNECTIONS_MAX:
            next(iter(self._open)).close()
        speaker = _Speaker(self, self._selector, peer)
        self.touched(speaker)
        speaker.read(events)  # whoever made it may wait to be let go: it is read before its exit is answered

    def _has_ended(self, pid: int) -> bool:
        """Whether a process that is not among ours may have been: it is gone, or has ended and is not reaped."""
        if self._processes.has_ended(pid):
            return True
        try:
            proc.read_stat(pid)
        except ProcessLookupError:
            return True
        return False

    def _refuse(self, pid: int) -> None:
        self._record(
            "privilege",
            process=None,
            operation="claim",
            arguments=[pid],
            errno=errno.EACCES,
            refused=True,
            wall="claims",
            clause=_OUTSIDER,
        )


class _Speaker:
    """One connection; each line is its sender's, whoever that is."""

    def __init__(self, claims: ClaimsSocket, selector: selectors.BaseSelector, peer: socket.socket) -> None:
        self._claims = claims
        self._selector = selector
        self._peer = peer
        self._data = b""
        self._sender = 0
        self._skipping = False  # the rest of a line that is too long
        peer.setblocking(False)
        selector.register(peer, selectors.EVENT_READ, Watch(CONTROL_PRIORITY, self.read))

    def read(self, events: int) -> None:
        """Take in what is there, at most one line's length, so that others have their turn."""
        try:
            data, ancillary, _, _ = self._peer.recvmsg(
                LINE_MAX, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            return self.close()
        if not data:
            return self.close()
        self._claims.touched(self)
        # The kernel never puts the bytes of two senders into one answer.
        sender = next((_CREDENTIALS.unpack(p)[0] for _, k, p in ancillary if k == socket.SCM_CREDENTIALS), 0)
        if sender != self._sender and (self._data or self._skipping):
            self._claims.drop("not a claim: a line by several processes")
            self._data, self._skipping = b"", False
        self._sender = sender
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(self._data + line)
            self._data = b""
        self._data += rest
        if len(self._data) > LINE_MAX:
            if not self._skipping:
                self._claims.drop(f"not a claim: longer than {LINE_MAX} bytes")
            self._data, self._skipping = b"", True

    def close(self) -> None:
        self._selector.unregister(self._peer)
        self._peer.close()
        if self._data:
            self._claims.drop("not a claim: no newline behind it")
        self._claims.gone(self)

    def _line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
        elif line:
            self._claims.heard(line, self._sender)


def read_claim(line: bytes) -> dict[str, Any]:
    """The members of a claim's record, each of its type and of bounded size. Raises NoClaim."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise NoClaim("no JSON") from None
    if not isinstance(said, dict):
        raise NoClaim("no object")
    mark, step = said.get("mark"), said.get("step")
    if mark not in ("begin", "end", "past"):
        raise NoClaim("its mark is not begin, end or past")
    # An end without a step ends all of its group.
    if not (_is_word(step) or (step is None and mark == "end" and said.get("group"))):
        raise NoClaim("no step")
    for name in _WORDS:
        if said.get(name) is not None and not _is_word(said[name]):
            raise NoClaim(f"{name} is not a word")
    for name in ("began", "ended"):
        if said.get(name) is not None and not (type(said[name]) is int and 0 <= said[name] < 1 << 63):
            raise NoClaim(f"{name} is not a time in nanoseconds")
    arguments = said.get("arguments")
    if not _is_shallow(arguments, DEEPEST):
        raise NoClaim("arguments are nested too deeply")
    optional = {name: said[name] for name in ("group", "within", "began", "ended") if said.get(name) is not None}
    words = {"tool": said.get("tool"), "source": said.get("source")}
    return {"mark": mark, "step": step, **words, "arguments": arguments, **optional}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= WORD_MAX


def _is_shallow(value: Any, deepest: int) -> bool:
    if isinstance(value, dict):
        return deepest > 0 and all(_is_shallow(member, deepest - 1) for member in value.values())
    if isinstance(value, list):
        return deepest > 0 and all(_is_shallow(member, deepest - 1) for member in value)
    # JSON's own numbers only: Python also reads NaN and Infinity, which no record can hold.
    return not isinstance(value, float) or value - value == 0
