"""Messages arrive whole, in order, with their own descriptors, or the connection ends; nothing is cut or mixed up."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.protocol import MESSAGE_MAX, ProtocolError, Receiver, encode, send

Pair = tuple[socket.socket, Receiver]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    receiver = Receiver(theirs)
    yield ours, receiver
    ours.close()
    receiver.close()


def test_a_large_message_arrives_whole(pair: Pair) -> None:
    ours, receiver = pair
    message = {"arguments": ["x" * 1000] * 1500}
    sender = threading.Thread(target=send, args=(ours, message))
    sender.start()
    assert receiver.wait() == message
    sender.join()


def test_descriptors_arrive_with_their_message(pair: Pair) -> None:
    ours, receiver = pair
    reader, writer = os.pipe()
    send(ours, {"n": 1}, (reader,))
    send(ours, {"n": 2})
    assert receiver.wait() == {"n": 1}
    (copy,) = receiver.take_descriptors(1)
    os.write(writer, b"through")
    assert os.read(copy, 16) == b"through"
    assert not os.get_inheritable(copy)
    assert receiver.wait() == {"n": 2}
    with pytest.raises(ProtocolError, match="descriptors missing"):
        receiver.take_descriptors(1)
    for number in (reader, writer, copy):
        os.close(number)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!I", 2) + b"[]",
        struct.pack("!I", 3) + b"{a}",
        struct.pack("!I", MESSAGE_MAX + 1),
        struct.pack("!I", 200_000) + b"[" * 200_000,
    ],
)
def test_rubbish_is_an_error(pair: Pair, frame: bytes) -> None:
    ours, receiver = pair
    sender = threading.Thread(target=ours.sendall, args=(frame,))
    sender.start()
    with pytest.raises(ProtocolError):
        receiver.wait()
    sender.join()


def test_the_end_of_the_stream_is_no_message(pair: Pair) -> None:
    ours, receiver = pair
    ours.sendall(encode({"half": True})[:5])
    ours.close()
    assert receiver.wait() is None


def test_what_is_too_large_is_not_sent(pair: Pair) -> None:
    with pytest.raises(ProtocolError, match="too large"):
        send(pair[0], {"data": "x" * (MESSAGE_MAX + 1)})


@given(st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=4), max_size=6), st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(messages: list[dict[str, str]], data: st.DataObject) -> None:
    ours, theirs = socket.socketpair()
    receiver = Receiver(theirs)
    stream = b"".join(map(encode, messages))
    seen = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        ours.sendall(stream[:size])
        stream = stream[size:]
        receiver.read()
        while (message := receiver.next()) is not None:
            seen.append(message)
    ours.close()
    receiver.close()
    assert seen == messages
