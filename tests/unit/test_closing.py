"""Closing the last reference to a socket takes no time, whatever its owner wanted to wait for."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from collections.abc import Iterator

import pytest

from remit.kernel import closing


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    closing.prepare()
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(60, method="thread")  # the other method uses the very signal
def test_a_lingering_socket_is_closed_at_once() -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        speaker = socket.create_connection(deaf.getsockname())
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
        speaker.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                speaker.send(b"x" * 65536)
        # Not this: speaker.close() waits for an hour.
        speaker.setblocking(True)
        closing.close_promptly(speaker.detach())
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_descriptor_that_is_no_longer_there_is_an_error() -> None:
    reader, writer = socket.socketpair()
    reader.close()
    number = writer.detach()
    closing.close_promptly(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        closing.close_promptly(number)
