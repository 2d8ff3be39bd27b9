"""`cidr: self`: on loopback a session reaches the servers that it runs itself, and no service of the host's."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from attacks import Inside, Listener, Open

Listen = Callable[..., Listener]


@pytest.fixture(scope="module")
def own(open_session: Open) -> Inside:
    return open_session(
        "network:\n  connect: [{cidr: self, port: 1024-65535}]\n  listen: [{cidr: self, port: 0-65535}]\n"
    )


@contextmanager
def serving(inside: Inside, host: str, count: int, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server inside, and the port that it got."""
    command = [sys.executable, "-B", f"{inside.workspace}/own_ports.py", "serve", host, str(port), str(count)]
    server = inside.session.popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline()), server  # type: ignore[misc]
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_sessions_own_server_is_reached(own: Inside, host: str) -> None:
    with serving(own, host, 2) as (port, _):
        attempt = own.do("own_ports.py", "talk", host, port)
        assert attempt.result == "welcome"
        (record,) = [r for r in attempt.records if r["kind"] == "connect" and r["port"] == port]
        assert record["errno"] in (0, errno.EINPROGRESS)  # Python waits by itself when there is a time limit
        assert (record["refused"], record["clause"]) == (False, "network.connect[0]")
        answer = own.do("own_ports.py", "talk_without_waiting", host, port).result
        assert answer["first"] in (0, errno.EINPROGRESS)
        assert (answer["then"], answer["heard"]) == (0, "welcome")


def test_a_server_on_all_addresses_is_reached_by_its_loopback_address(open_session: Open) -> None:
    inside = open_session("network:\n  connect: [{cidr: self, port: 1024-65535}]\n  listen: [{port: 0-65535}]\n")
    for host, ways in (("0.0.0.0", ["127.0.0.1", "::ffff:127.0.0.1"]), ("::", ["127.0.0.1", "::1"])):
        with serving(inside, host, len(ways)) as (port, _):
            for way in ways:
                assert inside.do("own_ports.py", "talk", way, port).result == "welcome", (host, way)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("act", ["talk", "talk_without_waiting"])
def test_a_service_of_the_host_is_refused(own: Inside, listen: Listen, host: str, act: str) -> None:
    listener = listen(socket.AF_INET6, ("::1", 0)) if host == "::1" else listen()
    attempt = own.do("own_ports.py", act, host, listener.port)
    assert not listener.reached()
    (record,) = attempt.refusals("connect", port=listener.port)
    assert (record["errno"], record["wall"], record["clause"]) == (errno.EACCES, "addresses", "network.connect[0]")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_self_is_loopback_and_no_other_address(own: Inside, host: str) -> None:
    with serving(own, "127.0.0.1", 1) as (port, _):
        attempt = own.do("own_ports.py", "talk", host, port)
        assert attempt.errno == errno.EACCES
        assert len(attempt.refusals("connect", port=port)) == 1


def test_a_port_that_was_given_back_and_taken_by_an_outsider_is_refused(own: Inside, listen: Listen) -> None:
    port = own.do("own_ports.py", "listen_and_leave", "127.0.0.1").result
    listener = listen(address=("127.0.0.1", port))
    attempt = own.do("own_ports.py", "talk", "127.0.0.1", port)
    assert attempt.errno == errno.EACCES
    assert not listener.reached()
    assert len(attempt.refusals("connect", port=port)) == 1


def test_an_outsider_beside_the_sessions_own_server_makes_the_port_doubtful(own: Inside, listen: Listen) -> None:
    """On the same port at another address: which of them answers is not ours to know, so nobody is asked."""
    with serving(own, "127.0.0.1", 1) as (port, _):
        with socket.socket(socket.AF_INET6) as other:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            other.bind(("::", port))
            other.listen()
            assert own.do("own_ports.py", "talk", "127.0.0.1", port).errno == errno.EACCES
        assert own.do("own_ports.py", "talk", "127.0.0.1", port).result == "welcome"


def test_nobody_there_is_no_refusal(own: Inside) -> None:
    port = own.do("own_ports.py", "listen_and_leave", "127.0.0.1").result
    attempt = own.do("own_ports.py", "talk", "127.0.0.1", port)
    assert attempt.errno == errno.ECONNREFUSED
    assert attempt.refusals("connect") == []


def test_a_connect_that_is_put_off_reaches_no_host_service(own: Inside, listen: Listen) -> None:
    """TCP_FASTOPEN_CONNECT would open the connection later, to whoever listens then."""
    listener = listen()
    assert own.do("own_ports.py", "put_off", "127.0.0.1", listener.port).result["connected"] == errno.EACCES
    assert not listener.reached()
    with serving(own, "127.0.0.1", 1) as (port, _):
        result = own.do("own_ports.py", "put_off", "127.0.0.1", port).result
        assert (result["connected"] == 0) == (result["written"] == 0)


def test_a_port_that_changes_hands_all_the_time_gives_an_outsider_nothing(own: Inside) -> None:
    """Inside and outside take turns on one port; whatever is written must end inside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over, heard = threading.Event(), []

    def outsider() -> None:
        while not over.is_set():
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    server.bind(("127.0.0.1", port))
                    server.listen()
                    server.settimeout(0.001)
                    with server.accept()[0] as peer:
                        peer.settimeout(5)
                        heard.append(peer.recv(64))
                except OSError:
                    pass
            over.wait(0.003)  # the others' turn

    thread = threading.Thread(target=outsider)
    thread.start()
    met = own.do("own_ports.py", "race", "127.0.0.1", port, 1500).result
    over.set()
    thread.join()
    assert met.get("0", 0) > 0, met
    assert [data for data in heard if data] == []
