"""Sends messages on a socket of the agent's, from copies, waiting as the socket would."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable

from remit.kernel.libc import send_to
from remit.protocol import Message

_LOOK_MILLISECONDS = 200  # how often a send that waits looks whether it is still wanted


def send_messages(end: socket.socket, request: Message, wanted: Callable[[], bool]) -> Message:
    """Send each message of a request, [data, address] in hex; {errno, sent: how many bytes of each that went}."""
    flags = int(request["flags"]) | socket.MSG_NOSIGNAL
    waits = os.get_blocking(end.fileno()) and not flags & socket.MSG_DONTWAIT
    sent: list[int] = []
    for data, address in request["messages"]:
        while True:
            # Never blocking: the agent may change that while we send, and a worker must come back.
            error, count = send_to(
                end.fileno(), bytes.fromhex(data), flags | socket.MSG_DONTWAIT, bytes.fromhex(address)
            )
            if error != errno.EAGAIN or not waits or sent or not wanted():
                break
            ready = select.poll()
            ready.register(end, select.POLLOUT)
            ready.poll(_LOOK_MILLISECONDS)
        if error:
            return {"errno": error, "sent": sent}
        sent.append(count)
    return {"errno": 0, "sent": sent}
