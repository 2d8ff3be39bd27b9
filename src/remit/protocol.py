"""Messages between remit's own processes: length-prefixed JSON over a stream socket, descriptors beside it.

The same frames serve the control socket, the harness's channel, the zygote and the deputy. A message is refused, not
cut, above MESSAGE_MAX. Descriptors travel with the first byte of the message they belong to (unix(7), SCM_RIGHTS).
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from typing import Any

Message = dict[str, Any]

MESSAGE_MAX = 4 << 20  # an argument vector and environment may be 2 MiB (execve(2)) before JSON quotes them
DESCRIPTORS_MAX = 8
_LENGTH = struct.Struct("!I")


class ProtocolError(Exception):
    """The other side sent something that is not a message; its connection is closed and nothing it asked is done."""


def encode(message: Message) -> bytes:
    """One frame. Raises ProtocolError when the message is too large."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MESSAGE_MAX:
        raise ProtocolError(f"message too large: {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


def send(connection: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message, waiting until the socket has taken all of it."""
    frame = encode(message)
    sent = 0
    if descriptors:
        rights = array.array("i", descriptors)
        sent = connection.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    connection.sendall(frame[sent:])


class Receiver:
    """Reassembles messages from one stream socket; owns received descriptors until they are handed out."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = bytearray()
        self._descriptors: deque[int] = deque()
        self.closed = False

    def read(self) -> bool:
        """Take in what has arrived (blocking if the socket blocks); False at the end of the stream.

        Raises BlockingIOError when a non-blocking socket has nothing.
        """
        space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)
        data, ancillary, _, _ = self._connection.recvmsg(65536, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self._descriptors.extend(numbers)
        self._data += data
        self.closed = not data
        return bool(data)

    def next(self) -> Message | None:
        """The next whole message, or None; raises ProtocolError on rubbish."""
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if length > MESSAGE_MAX:
            raise ProtocolError(f"message too large: {length} bytes")
        if len(self._data) < _LENGTH.size + length:
            return None
        body = bytes(self._data[_LENGTH.size : _LENGTH.size + length])
        del self._data[: _LENGTH.size + length]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as problem:
            raise ProtocolError(f"not JSON: {problem}") from None
        if not isinstance(message, dict):
            raise ProtocolError("not an object")
        return message

    def take_descriptors(self, count: int) -> tuple[int, ...]:
        """The next `count` received descriptors, the caller's to close; raises ProtocolError when they are short."""
        if len(self._descriptors) < count:
            raise ProtocolError(f"descriptors missing: {count - len(self._descriptors)}")
        return tuple(self._descriptors.popleft() for _ in range(count))

    def wait(self) -> Message | None:
        """Block for the next message; None at the end of the stream."""
        while (message := self.next()) is None:
            if not self.read():
                return None
        return message

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took."""
        for number in self._descriptors:
            os.close(number)
        self._descriptors.clear()
        self._connection.close()
        self.closed = True
