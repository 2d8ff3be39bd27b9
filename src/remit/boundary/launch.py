"""Starts a boundary: the zygote and the deputy inside it, and the listener that brings their questions out.

The zygote puts up the walls on another core while whoever began the boundary loads what it needs to answer questions.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit.boundary.mask_mounts import Cover
from remit.errors import BoundaryError
from remit.kernel import process, seccomp
from remit.plain import Data
from remit.plan import Plan
from remit.protocol import Message, Receiver

if TYPE_CHECKING:
    from remit.boundary.cgroups import SessionCgroups


class Boundary(Data):
    """A boundary that is in force. `killable`: a waiting question is not broken by signals."""

    zygote: int
    deputy: int
    listener: int
    killable: bool
    synchronous: bool
    channel: socket.socket
    receiver: Receiver
    deputy_channel: socket.socket
    attempts: list[Message]  # outcomes of those that were made before the filter went on
    namespaces: tuple[int, ...] = ()  # user and mount, when paths are masked
    cgroups: SessionCgroups | None = None  # the zygote and all that it forks are in them; the deputy is not


def remember_dispositions() -> dict[int, Any]:
    """How the caller left its signals, so that the agent starts with the same; Python itself changes two of them."""
    found: dict[int, Any] = {}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        disposition = signal.getsignal(number)
        ignored = disposition is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ)
        found[number] = signal.SIG_IGN if ignored else signal.SIG_DFL
    return found


class Rising:
    """A boundary whose walls are being put up; no program of the agent's is in it yet."""

    def __init__(
        self, pid: int, channel: socket.socket, deputy_channel: socket.socket, cgroups: SessionCgroups | None
    ) -> None:
        self._pid = pid
        self._channel = channel
        self._deputy_channel = deputy_channel
        self._cgroups = cgroups

    def wait(self) -> Boundary:
        """Block until every wall is up. Raises BoundaryError, and then no agent was started."""
        receiver = Receiver(self._channel)
        greeting = receiver.wait()
        if greeting is None or "failed" in greeting:
            message = "the boundary ended before it was up" if greeting is None else str(greeting["failed"])
            raise BoundaryError(message, hint=None if greeting is None else greeting["hint"])
        listener, *own = receiver.take_descriptors(int(greeting["descriptors"]))
        if self._cgroups is not None:
            self._cgroups.enter(self._pid)
        synchronous = seccomp.set_sync_wake_up(listener)
        return Boundary(
            self._pid,
            int(greeting["deputy"]),
            listener,
            bool(greeting["killable"]),
            synchronous,
            self._channel,
            receiver,
            self._deputy_channel,
            greeting["attempts"],
            tuple(own),
            self._cgroups,
        )


def begin_boundary(
    plan: Plan,
    temporary_directory: str,
    dispositions: Mapping[int, Any],
    covers: tuple[Cover, ...] = (),
    cgroups: SessionCgroups | None = None,
) -> Rising:
    """Fork the zygote, which begins to put up the walls."""
    channel, inner_channel = socket.socketpair()
    deputy_channel, inner_deputy_channel = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            from remit.boundary import zygote  # its own, so that both load at the same time

            zygote.run(plan, temporary_directory, inner_channel, inner_deputy_channel, dispositions, covers)
        finally:
            os._exit(1)
    inner_channel.close()
    inner_deputy_channel.close()
    process.set_dumpable(False)
    return Rising(pid, channel, deputy_channel, cgroups)
