"""The supervisor's side of the deputy: requests out, outcomes in, answers to the questions that wait for them.

Fails closed: when the deputy is gone, every waiting and every later request is refused.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable

from remit.kernel.closing import close_promptly
from remit.plain import Data
from remit.protocol import Message, ProtocolError, Receiver, send
from remit.supervisor.processes import Process

Finish = Callable[[Message], None]


class _Waiting(Data):
    process: Process
    finish: Finish


class DeputyClient:
    """Sends requests to the deputy and calls `finish` with each outcome, {errno, …}.

    A descriptor that comes with an outcome is its member `given`, and the caller's to close.
    """

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self.channel = channel
        self.pid = pid
        self._receiver = Receiver(channel)
        self._waiting: dict[int, _Waiting] = {}
        self._more = select.poll()
        self._more.register(channel, select.POLLIN)
        self._last = 0

    def ask(self, request: Message, descriptors: tuple[int, ...], process: Process, finish: Finish) -> None:
        """Send one request with its descriptors, which are closed here."""
        self._last += 1
        try:
            send(self.channel, {**request, "id": self._last, "descriptors": len(descriptors)}, descriptors)
        except OSError:
            finish({"errno": errno.EIO, "refused": True})
            return
        finally:
            for number in descriptors:
                close_promptly(number)
        self._waiting[self._last] = _Waiting(process, finish)

    def receive(self) -> bool:
        """Handle the outcomes that have come; False when the deputy is gone."""
        try:
            alive = self._receiver.read()
            # All that have come: one that carries a descriptor ends a read, and left behind they would fill the channel
            # until either side waits for the other.
            while alive and self._more.poll(0):
                alive = self._receiver.read()
            while (outcome := self._receiver.next()) is not None:
                if outcome.get("descriptors"):
                    (outcome["given"],) = self._receiver.take_descriptors(1)
                waiting = self._waiting.pop(int(outcome["id"]), None)
                if waiting is not None:
                    waiting.finish(outcome)
                elif "given" in outcome:
                    os.close(outcome["given"])
        except (OSError, ProtocolError):
            alive = False
        if not alive:
            for waiting in list(self._waiting.values()):
                waiting.finish({"errno": errno.EIO, "refused": True})
            self._waiting.clear()
        return alive

    def caller_gone(self, process: Process) -> None:
        """A process ended while its connect was under way: give the worker back."""
        for number, waiting in list(self._waiting.items()):
            if waiting.process is process:
                try:
                    send(self.channel, {"id": number, "do": "cancel"})
                except OSError:
                    return
