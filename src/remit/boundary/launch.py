"""Starts a boundary: the zygote and the deputy inside it, and the listener that brings their questions out."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from remit.boundary import zygote
from remit.boundary.mask_mounts import Cover
from remit.errors import BoundaryError
from remit.kernel import process, seccomp
from remit.plan import Plan
from remit.protocol import Message, Receiver


class Boundary(NamedTuple):
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


def remember_dispositions() -> dict[int, Any]:
    """How the caller left its signals, so that the agent starts with the same; Python itself changes two of them."""
    found: dict[int, Any] = {}
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        disposition = signal.getsignal(number)
        ignored = disposition is signal.SIG_IGN and number not in (signal.SIGPIPE, signal.SIGXFSZ)
        found[number] = signal.SIG_IGN if ignored else signal.SIG_DFL
    return found


def start_boundary(
    plan: Plan,
    temporary_directory: str,
    dispositions: Mapping[int, Any],
    covers: tuple[Cover, ...] = (),
    *,
    before_zygote: Callable[[], None] = lambda: None,
) -> Boundary:
    """Fork the zygote and wait until every wall is up. Raises BoundaryError, and then no agent was started."""
    channel, inner_channel = socket.socketpair()
    deputy_channel, inner_deputy_channel = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        before_zygote()
        zygote.run(plan, temporary_directory, inner_channel, inner_deputy_channel, dispositions, covers)
    inner_channel.close()
    inner_deputy_channel.close()
    process.set_dumpable(False)
    receiver = Receiver(channel)
    greeting = receiver.wait()
    if greeting is None or "failed" in greeting:
        message = "the boundary ended before it was up" if greeting is None else str(greeting["failed"])
        raise BoundaryError(message, hint=None if greeting is None else greeting["hint"])
    listener, *own = receiver.take_descriptors(int(greeting["descriptors"]))
    synchronous = seccomp.set_sync_wake_up(listener)
    return Boundary(
        pid,
        int(greeting["deputy"]),
        listener,
        bool(greeting["killable"]),
        synchronous,
        channel,
        receiver,
        deputy_channel,
        greeting["attempts"],
        tuple(own),
    )
