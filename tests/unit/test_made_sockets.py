"""A socket that was made for the agent is found again while it is needed, and let go of when it is not."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from remit.kernel import tcp_diag
from remit.supervisor.made_sockets import MadeSockets, Spent

NOBODY: set[int] = set()


class Made(MadeSockets):
    """With a session that is this process, which holds every duplicate itself, or nobody."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.session = {os.getpid()}
        super().__init__(self.selector, lambda: self.session)

    def turn(self) -> None:
        for key, events in self.selector.select(0.05):
            key.data.ready(events)
        self.look()


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def agents(made: Made, family: int = socket.AF_INET) -> tuple[socket.socket, int]:
    """The agent's end of a socket that is held, and its inode."""
    end = socket.socket(family)
    made.add(os.dup(end.fileno()))
    return end, os.fstat(end.fileno()).st_ino


def found(made: Made, end: socket.socket) -> int:
    """The errno of looking for it, 0 when it is there."""
    try:
        os.close(made.find(os.getpid(), end.fileno()))
    except OSError as problem:
        return problem.errno or -1
    return 0


def place(end: socket.socket) -> str:
    return f"/proc/{os.getpid()}/fd/{end.fileno()}"


def test_only_what_was_made_is_found(made: Made) -> None:
    end, _ = agents(made)
    assert found(made, end) == 0
    with socket.socket() as other:
        assert found(made, other) == errno.EPERM
    with pytest.raises(OSError, match="Bad file"):
        made.find(os.getpid(), 9999)
    with open("/dev/null") as file, pytest.raises(OSError) as caught:
        made.find(os.getpid(), file.fileno())
    assert caught.value.errno == errno.ENOTSOCK


def test_what_nobody_has_is_let_go_of(made: Made) -> None:
    end, _ = agents(made)
    assert made.sweep() == 0
    made.session = NOBODY
    assert made.sweep() == 1
    assert found(made, end) == errno.EPERM


def test_a_full_table_looks_for_what_may_go(made: Made) -> None:
    made.most = 3
    ends = [agents(made) for _ in range(3)]
    assert made.full()
    made.session = NOBODY
    made.sweep(needed=True)
    assert not made.full()
    assert len(ends) == 3


def test_looking_takes_a_share_of_the_time(made: Made) -> None:
    end, _ = agents(made)
    looked = 0

    def present() -> set[int]:
        nonlocal looked
        looked += 1
        time.sleep(0.02)
        return {os.getpid()}

    made._present = present
    for _ in range(500):
        made.sweep()
    assert looked < 40
    assert found(made, end) == 0


def test_a_connected_socket_is_spent_and_told_so(made: Made, server: socket.socket) -> None:
    end, inode = agents(made)
    end.connect(server.getsockname())
    made.connected(inode, place(end))
    for _ in range(2):
        with pytest.raises(Spent) as spent:
            made.find(os.getpid(), end.fileno())
        assert spent.value.error == errno.EISCONN


def test_a_connect_under_way_is_told_of_once(made: Made, server: socket.socket) -> None:
    end, inode = agents(made)
    end.setblocking(False)
    end.connect_ex(server.getsockname())
    made.connecting(inode, place(end))
    made.turn()
    said = []
    for _ in range(2):
        with pytest.raises(Spent) as spent:
            made.find(os.getpid(), end.fileno())
        said.append(spent.value.error)
    assert said == [0, errno.EISCONN]


def test_a_connect_that_failed_leaves_the_socket_and_its_error(made: Made, server: socket.socket) -> None:
    address = server.getsockname()
    server.close()
    end, inode = agents(made)
    end.setblocking(False)
    end.connect_ex(address)
    made.connecting(inode, place(end))
    made.turn()
    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    assert found(made, end) == 0


def test_first_words_and_volumes_are_told_and_the_end_is_seen(made: Made, server: socket.socket) -> None:
    end, inode = agents(made)
    end.connect(server.getsockname())
    made.connected(inode, place(end))
    accepted, _ = server.accept()
    accepted.sendall(b"SSH-2.0-x\r\n")
    made.turn()
    assert made.sample(inode) == {"bytes_in": 11, "bytes_out": pytest.approx(0, abs=1), "first_bytes": "SSH-2.0-x\r\n"}
    assert end.recv(64) == b"SSH-2.0-x\r\n"
    end.close()
    assert accepted.recv(1) == b""  # no duplicate is left
    assert made.sample(inode) is None


def test_a_close_ends_the_listening(made: Made, server: socket.socket) -> None:
    end, inode = agents(made)
    end.connect(server.getsockname())
    made.connected(inode, place(end))
    accepted, _ = server.accept()
    accepted.settimeout(5)
    end.close()
    time.sleep(0.02)
    made.look()
    assert accepted.recv(1) == b""


def test_a_listener_that_was_closed_does_not_answer(made: Made) -> None:
    end, inode = agents(made)
    end.bind(("127.0.0.1", 0))
    end.listen()
    port = end.getsockname()[1]
    made.listening(inode, place(end))
    made.before_connect(port)
    assert made.duplicate(inode) is not None
    end.close()
    made.session = NOBODY
    made.before_connect(port)
    assert made.duplicate(inode) is None


def test_the_ports_of_a_process_are_free_when_it_has_ended(made: Made) -> None:
    end, inode = agents(made)
    end.bind(("127.0.0.1", 0))
    made.bound(inode, "7:7")
    made.session = NOBODY
    made.ended("8:8")
    assert found(made, end) == 0
    made.ended("7:7")
    assert found(made, end) == errno.EPERM


def test_nothing_is_known_of_a_connection_that_is_not_there() -> None:
    here = socket.inet_aton("127.0.0.1")
    assert tcp_diag.carried(tcp_diag.Ends(socket.AF_INET, here, 1, here, 2)) is None
