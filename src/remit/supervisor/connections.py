"""Sockets the supervisor never waits for: what cannot be sent now is sent when the other side reads."""

from __future__ import annotations

import array
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable

from remit.plain import Data
from remit.protocol import Message, ProtocolError, Receiver, encode


class Watch(Data):
    """What a selector key carries: the lower the priority, the earlier in a turn it is served."""

    priority: int
    ready: Callable[[int], None]


class Connection:
    """One non-blocking stream of messages. `received` gets each message; `lost` is called once, at its end."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        connection: socket.socket,
        *,
        priority: int,
        received: Callable[[Connection, Message], None],
        lost: Callable[[Connection], None],
        receiver: Receiver | None = None,
    ) -> None:
        self._selector = selector
        self._socket = connection
        self._receiver = receiver or Receiver(connection)
        self._received = received
        self._lost = lost
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._watch = Watch(priority, self._ready)
        self.open = True
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, self._watch)

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Queue one message; its descriptors are closed once they are sent, or when the connection ends."""
        if not self.open:
            _close_all(descriptors)
            return
        self._outbox.append((memoryview(encode(message)), descriptors))
        self._write()

    def take_descriptors(self, count: int) -> tuple[int, ...]:
        return self._receiver.take_descriptors(count)

    def read_now(self) -> None:
        """Handle what has already arrived, without waiting."""
        try:
            if not self._receiver.read():
                self.close()
                return
            while self.open and (message := self._receiver.next()) is not None:
                self._received(self, message)
        except BlockingIOError:
            return
        except (OSError, ProtocolError, KeyError, ValueError, TypeError, RecursionError):
            # Whatever a peer sends that is not a request ends its connection, and nothing else.
            self.close()

    def close(self) -> None:
        if not self.open:
            return
        self.open = False
        self._selector.unregister(self._socket)
        self._receiver.close()
        for _, descriptors in self._outbox:
            _close_all(descriptors)
        self._outbox.clear()
        self._lost(self)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._write()
        if self.open and events & selectors.EVENT_READ:
            self.read_now()

    def _write(self) -> None:
        try:
            while self._outbox:
                data, descriptors = self._outbox[0]
                if descriptors:
                    rights = array.array("i", descriptors)
                    sent = self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
                    _close_all(descriptors)
                else:
                    sent = self._socket.send(data)
                if sent < len(data):
                    self._outbox[0] = (data[sent:], ())
                else:
                    self._outbox.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        self._selector.modify(self._socket, wanted, self._watch)


def _close_all(descriptors: tuple[int, ...]) -> None:
    for number in descriptors:
        os.close(number)
