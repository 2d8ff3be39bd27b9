"""`network.udp`: datagrams go where the scope says, by every call that sends them, and nowhere else, raced or not."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from attacks import Inside, Listener, Open

Listen = Callable[..., Listener]
WAYS = ("sendto", "connected", "sendmsg")


class Resolver:
    """Answers every datagram, on loopback."""

    def __init__(self, family: int, host: str) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.port = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while True:
            data, peer = self.socket.recvfrom(2048)
            if data == b"over":
                return
            self.socket.sendto(b"it is 192.0.2.7", peer)

    def close(self) -> None:
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as last:
            last.sendto(b"over", self.socket.getsockname())
        self._thread.join()
        self.socket.close()


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    made = Resolver(socket.AF_INET, "127.0.0.1")
    yield made
    made.close()


@pytest.fixture(scope="module")
def granted(open_session: Open, resolver: Resolver) -> Inside:
    return open_session(f"network: {{udp: [{{cidr: 127.0.0.1, port: {resolver.port}}}]}}\n")


@pytest.mark.parametrize("way", WAYS)
def test_a_granted_resolver_answers(granted: Inside, resolver: Resolver, way: str) -> None:
    attempt = granted.do("udp.py", way, "127.0.0.1", resolver.port)
    assert attempt.result == f"it is 192.0.2.7 from 127.0.0.1:{resolver.port}"
    (record,) = [r for r in attempt.records if r["kind"] == "flow" and r["port"] == resolver.port]
    assert (record["errno"], record["refused"], record["clause"]) == (0, False, "network.udp[0]")


@pytest.mark.parametrize("way", ["connected", "address"])
def test_two_questions_at_once_are_answered(granted: Inside, resolver: Resolver, way: str) -> None:
    """As the C library's resolver asks: the caller is told the length of each message."""
    result = granted.do("udp.py", "sendmmsg", "127.0.0.1", resolver.port, way).result
    assert result["count"] == 2
    assert len(set(result["lengths"])) == 1
    assert result["lengths"][0] > 0
    assert len(result["heard"]) == 2


def test_a_socket_may_have_any_port_of_its_own_and_no_certain_one(granted: Inside, resolver: Resolver) -> None:
    assert granted.do("udp.py", "bound", "127.0.0.1", resolver.port, 0).errno == 0
    attempt = granted.do("udp.py", "bound", "127.0.0.1", resolver.port, 5353)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", port=5353, clause="network.udp")) == 1


@pytest.mark.parametrize("way", [*WAYS, "unspecified", "through_ipv6", "mapped"])
def test_nobody_else_is_sent_to(granted: Inside, listen: Listen, way: str) -> None:
    listener = listen(kind=socket.SOCK_DGRAM)
    attempt = granted.do("udp.py", way, "127.0.0.1", listener.port)
    assert attempt.errno == errno.EACCES
    assert not listener.reached()
    (record,) = attempt.refusals("flow")
    assert (record["wall"], record["clause"]) == ("addresses", "network.udp")


def test_nor_by_a_socket_that_is_connected_where_it_may_be(granted: Inside, resolver: Resolver, listen: Listen) -> None:
    listener = listen(kind=socket.SOCK_DGRAM)
    assert granted.do("udp.py", "after_connect", "127.0.0.1", listener.port, resolver.port).errno == errno.EACCES
    assert not listener.reached()


@pytest.mark.parametrize("way", ["connected", "address"])
def test_nor_many_at_once(granted: Inside, resolver: Resolver, listen: Listen, way: str) -> None:
    listener = listen(kind=socket.SOCK_DGRAM)
    assert granted.do("udp.py", "sendmmsg", "127.0.0.1", listener.port, way).errno == errno.EACCES
    assert not listener.reached()


def test_what_is_more_than_bytes_is_refused(granted: Inside, resolver: Resolver) -> None:
    attempt = granted.do("udp.py", "control", "127.0.0.1", resolver.port)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("flow", clause="network.udp: control data")) == 1


def test_a_udp_grant_is_none_for_tcp_and_the_other_way_round(
    open_session: Open, granted: Inside, resolver: Resolver, listen: Listen
) -> None:
    stream = listen(address=("127.0.0.1", resolver.port))
    assert granted.do("network.py", "connect", "127.0.0.1", resolver.port).errno == errno.EACCES
    assert not stream.reached()
    other = listen(kind=socket.SOCK_DGRAM)
    both = open_session(
        f"network: {{connect: [{{cidr: 127.0.0.1, port: {other.port}}}], udp: [{{cidr: 127.0.0.9, port: 53}}]}}\n"
    )
    for way in WAYS:
        assert both.do("udp.py", way, "127.0.0.1", other.port).errno == errno.EACCES
    assert not other.reached()


@pytest.mark.parametrize("call", ["sendto", "sendmsg", "pointer", "descriptor", "connect"])
def test_racing_threads_send_to_nobody_else(granted: Inside, resolver: Resolver, listen: Listen, call: str) -> None:
    listener = listen(kind=socket.SOCK_DGRAM)
    found: dict[str, int] = {}
    for _ in range(10):  # on a busy machine one of the threads may have the processor for a whole round
        attempt = granted.do("udp.py", "race", call, "127.0.0.1", resolver.port, listener.port, 600)
        assert not listener.reached()
        for outcome, count in attempt.result.items():
            found[outcome] = found.get(outcome, 0) + count
        if len(found) > 1 and "0" in found:
            return
    pytest.fail(f"the race was never run on both sides of the grant: {found}")


def test_other_sockets_work_beside(granted: Inside) -> None:
    assert granted.do("udp.py", "streams").result == 1
    assert granted.do("network.py", "route").result >= 1
    assert granted.do("network.py", "unix_own", "@beside").result == "hello"


def test_other_kinds_of_sockets_stay_refused(granted: Inside) -> None:
    for kind, protocol in ((socket.SOCK_DGRAM, 1), (socket.SOCK_DGRAM, 136), (socket.SOCK_RAW, 17)):
        assert granted.do("network.py", "make", int(socket.AF_INET), int(kind), protocol).errno == errno.EACCES


@pytest.mark.parametrize("scoped", [True, False])
def test_no_option_leads_packets_elsewhere(inside: Inside, granted: Inside, scoped: bool) -> None:
    attempt = (granted if scoped else inside).do("udp.py", "source_routes")
    working = {"no delay": 0, "time to live": 0}
    assert attempt.result == dict.fromkeys(attempt.result, errno.EPERM) | working
    assert len(attempt.refusals("privilege", operation="setsockopt")) == 4
