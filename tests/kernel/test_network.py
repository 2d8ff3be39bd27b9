"""Nobody is reached over a socket unless the scope says so, by whatever call, family or trick; what it grants works."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from attacks import Inside, Listener, Open, number

Listen = Callable[..., Listener]

SCTP, MPTCP, SMC, VSOCK, PACKET, XDP, ALG, BLUETOOTH = 132, 262, 43, 40, 17, 44, 38, 31
STREAM, DGRAM, RAW, RDM, SEQPACKET = 1, 2, 3, 4, 5
FORBIDDEN_SOCKETS = {
    "udp": (socket.AF_INET, DGRAM, 0),
    "udp over IPv6": (socket.AF_INET6, DGRAM, 17),
    "ping": (socket.AF_INET, DGRAM, 1),
    "icmp": (socket.AF_INET, RAW, 1),
    "icmp over IPv6": (socket.AF_INET6, RAW, 58),
    "raw": (socket.AF_INET, RAW, 255),
    "sctp": (socket.AF_INET, STREAM, SCTP),
    "sctp one to many": (socket.AF_INET, SEQPACKET, SCTP),
    "mptcp": (socket.AF_INET, STREAM, MPTCP),
    "mptcp over IPv6": (socket.AF_INET6, STREAM, MPTCP),
    "udp-lite": (socket.AF_INET, DGRAM, 136),
    "smc": (SMC, STREAM, 0),
    "vsock": (VSOCK, STREAM, 0),
    "packet": (PACKET, RAW, 0x300),
    "old packet": (socket.AF_INET, 10, 0x300),
    "xdp": (XDP, RAW, 0),
    "kernel crypto": (ALG, SEQPACKET, 0),
    "bluetooth": (BLUETOOTH, RAW, 1),
    "netlink audit": (socket.AF_NETLINK, RAW, 9),
    "netlink connector": (socket.AF_NETLINK, RAW, 11),
    "netlink diagnosis": (socket.AF_NETLINK, RAW, 4),
    "netlink filter": (socket.AF_NETLINK, RAW, 12),
    "netlink events": (socket.AF_NETLINK, RAW, 15),
    "netlink generic": (socket.AF_NETLINK, RAW, 16),
    "unix datagram": (socket.AF_UNIX, DGRAM, 0),
    "unix raw": (socket.AF_UNIX, RAW, 0),
    "no family": (0, STREAM, 0),
}


@pytest.mark.parametrize("name", FORBIDDEN_SOCKETS)
def test_a_socket_that_landlock_does_not_cover_cannot_be_made(inside: Inside, name: str) -> None:
    family, kind, protocol = FORBIDDEN_SOCKETS[name]
    attempt = inside.do("network.py", "make", int(family), kind, protocol)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("flow", operation="socket", family=int(family), type=kind, protocol=protocol)) == 1


@pytest.mark.parametrize("name", FORBIDDEN_SOCKETS)
def test_nor_with_the_upper_halves_of_the_registers_filled(inside: Inside, name: str) -> None:
    family, kind, protocol = FORBIDDEN_SOCKETS[name]
    attempt = inside.do("network.py", "make_dirty", number("socket"), int(family), kind, protocol)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("flow", operation="socket", family=int(family))) == 1


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(2, STREAM, 0), (2, STREAM, 6), (10, STREAM, 6), (1, STREAM, 0), (1, SEQPACKET, 0), (16, RAW, 0), (16, DGRAM, 0)],
)
def test_a_socket_that_a_wall_covers_can_be_made(inside: Inside, family: int, kind: int, protocol: int) -> None:
    assert inside.do("network.py", "make", family, kind, protocol).errno == 0


@pytest.mark.parametrize("kind", [DGRAM, RAW])
def test_a_pair_that_could_send_to_an_address_of_its_choice_cannot_be_made(inside: Inside, kind: int) -> None:
    attempt = inside.do("network.py", "pair", kind)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("flow", operation="socket", family=1, type=kind)) == 1


@pytest.mark.parametrize("kind", [STREAM, SEQPACKET])
def test_a_connected_pair_can_be_made(inside: Inside, kind: int) -> None:
    assert inside.do("network.py", "pair", kind).errno == 0


@pytest.mark.parametrize(
    ("act", "host"),
    [
        *(("connect", host) for host in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::1", "::")),
        *(
            (act, host)
            for act in ("connect_after_dissolving", "fast_open_connect")
            for host in ("127.0.0.1", "0.0.0.0")
        ),
    ],
)
def test_an_address_that_no_grant_covers_is_not_reached(inside: Inside, listen: Listen, act: str, host: str) -> None:
    listener = listen(socket.AF_INET6, ("::1", 0)) if host in ("::1", "::") else listen()
    attempt = inside.do("network.py", act, host, listener.port)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", port=listener.port, errno=errno.EACCES)) == 1
    assert not listener.reached()


@pytest.mark.parametrize("call", ["sendto", "sendmsg", "sendmmsg", "sendmsg dirty", "sendmmsg dirty"])
def test_fast_open_reaches_nobody(inside: Inside, listen: Listen, call: str) -> None:
    listener = listen()
    attempt = inside.do("network.py", "fast_open", call, number(call.split()[0]), "127.0.0.1", listener.port)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("flow", operation="send")) == 1
    assert not listener.reached()


def test_listening_without_binding_takes_no_port(inside: Inside) -> None:
    attempt = inside.do("network.py", "listen_without_bind")
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", operation="listen", port=0)) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::", "::1"])
def test_a_port_that_no_grant_names_cannot_be_bound(inside: Inside, host: str) -> None:
    attempt = inside.do("network.py", "bind", host, 8765)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", operation="bind", port=8765)) == 1


def test_a_port_cannot_be_bound_by_an_address_without_a_family(inside: Inside) -> None:
    attempt = inside.do("network.py", "bind_unspecified", 8765)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", operation="bind")) == 1


def test_a_free_port_on_loopback_can_be_bound_but_not_listened_on(inside: Inside) -> None:
    assert inside.do("network.py", "bind", "127.0.0.1", 0).errno == 0
    attempt = inside.do("network.py", "bind_and_listen", "127.0.0.1", 0)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", operation="listen")) == 1


def test_swapping_the_socket_while_bind_is_judged_binds_nothing(inside: Inside) -> None:
    assert inside.do("network.py", "bind_race", 8766).result == 0


def test_names_can_be_looked_up_through_netlink(inside: Inside) -> None:
    attempt = inside.do("network.py", "route")
    assert attempt.result >= 1
    assert [r for r in attempt.records if r.get("refused")] == []


def test_nonsense_is_answered_as_the_kernel_would(inside: Inside) -> None:
    attempt = inside.do("network.py", "odd_addresses", number("connect"))
    fault, refused, invalid = errno.EFAULT, errno.EACCES, errno.EINVAL
    # What is too short to name an address is covered by no grant.
    assert attempt.result == [fault, fault, refused, refused, invalid, refused, refused, invalid, invalid]


def test_calls_on_what_is_no_socket_fail_and_the_session_goes_on(inside: Inside) -> None:
    attempt = inside.do("network.py", "not_a_socket")
    assert attempt.result == dict.fromkeys(("connect", "bind", "listen"), errno.ENOTSOCK)
    assert inside.do("network.py", "unix_own", "@afterwards").result == "hello"


def test_a_socket_of_another_family_is_answered(inside: Inside) -> None:
    """An act that the deputy cannot do must not leave the caller waiting for ever."""
    assert inside.do("network.py", "unix_own", "family.sock").result == "hello"
    result = inside.do("network.py", "wrong_family", "family.sock").result
    assert result == {"connect": errno.EAFNOSUPPORT, "bind": errno.EINVAL}


def test_an_address_in_secret_memory_reaches_nobody(open_session: Open, listen: Listen) -> None:
    listener = listen()
    session = open_session("network: {connect: [{cidr: 127.0.0.1, port: 9}]}\n")
    attempt = session.do("network.py", "secret_memory", number("connect"), "127.0.0.1", listener.port)
    if attempt.errno == errno.ENOSYS:
        pytest.skip("this kernel has no memfd_secret")
    assert attempt.errno == errno.EFAULT
    assert not listener.reached()


@pytest.fixture(scope="module")
def granted_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def granted(open_session: Open, granted_port: int) -> Inside:
    """A session that may connect to one port, and listen on it."""
    return open_session(
        f"network:\n  connect: [{{cidr: 127.0.0.1, port: {granted_port}}}]\n"
        f"  listen: [{{cidr: 127.0.0.1, port: {granted_port}}}]\n"
    )


def test_a_granted_address_is_reached(granted: Inside, granted_port: int, listen: Listen) -> None:
    listener = listen(address=("127.0.0.1", granted_port))
    attempt = granted.do("network.py", "connect", "127.0.0.1", granted_port)
    assert attempt.errno == 0
    assert listener.reached()
    (record,) = [r for r in attempt.records if r["kind"] == "connect" and r["port"] == granted_port]
    assert (record["errno"], record["refused"], record["clause"]) == (0, False, "network.connect[0]")


def test_a_granted_address_is_reached_without_waiting(granted: Inside, granted_port: int, listen: Listen) -> None:
    listener = listen(address=("127.0.0.1", granted_port))
    result = granted.do("network.py", "connect_without_waiting", "127.0.0.1", granted_port).result
    assert result["first"] in (0, errno.EINPROGRESS)
    assert result["then"] == 0
    assert listener.reached()


def test_nobody_listening_on_a_granted_port_is_no_refusal(granted: Inside, granted_port: int) -> None:
    attempt = granted.do("network.py", "connect", "127.0.0.1", granted_port)
    assert attempt.errno == errno.ECONNREFUSED
    assert attempt.refusals("connect") == []


@pytest.mark.parametrize("host", ["127.0.0.2", "0.0.0.0", "::1", "::"])
def test_a_grant_covers_its_address_and_no_other(granted: Inside, granted_port: int, host: str) -> None:
    attempt = granted.do("network.py", "connect", host, granted_port)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect")) == 1


def test_a_mapped_address_is_judged_as_what_it_maps_to(granted: Inside, granted_port: int, listen: Listen) -> None:
    listener = listen(address=("127.0.0.1", granted_port))
    assert granted.do("network.py", "connect", "::ffff:127.0.0.1", granted_port).errno == 0
    assert listener.reached()


def test_a_granted_port_is_listened_on_and_answers(granted: Inside, granted_port: int) -> None:
    command = [sys.executable, "-B", f"{granted.workspace}/network.py", "serve_once", "127.0.0.1", str(granted_port)]
    with granted.session.step("serve", tool="attack"):
        server = granted.session.popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        with socket.create_connection(("127.0.0.1", granted_port), 10) as client:
            client.sendall(b"hello")
        assert '"hello"' in server.stdout.read()
        assert server.wait() == 0


def test_a_grant_to_listen_on_one_address_is_none_for_all(granted: Inside, granted_port: int) -> None:
    assert granted.do("network.py", "bind", "0.0.0.0", granted_port).errno == errno.EACCES


def fill(listener: socket.socket) -> list[socket.socket]:
    """Connections until the kernel takes no more, so that the next one waits."""
    port = listener.getsockname()[1]
    held = []
    while True:
        client = socket.socket()
        client.settimeout(0.5)
        held.append(client)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return held


@pytest.fixture
def silent(granted_port: int) -> object:
    """A listener on the granted port whose backlog is full: connects to it wait."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", granted_port))
        listener.listen(0)
        held = fill(listener)
        yield listener
        for client in held:
            client.close()


def test_connects_that_wait_do_not_hold_up_others(granted: Inside, granted_port: int, silent: object) -> None:
    """Sixteen workers wait; what comes then is told to try again, at once."""
    attempt = granted.do("network.py", "many_waiting", "127.0.0.1", granted_port, 20)
    assert attempt.result == [errno.EAGAIN] * 4
    # The waiting callers have been killed, and their workers are free again.
    assert granted.do("network.py", "unix_own", "@free").result == "hello"
    again = granted.do("network.py", "many_waiting", "127.0.0.1", granted_port, 20)
    assert again.result == [errno.EAGAIN] * 4


def test_a_socket_made_blocking_while_it_is_judged_holds_up_nobody(
    granted: Inside, granted_port: int, silent: object
) -> None:
    for _ in range(5):
        assert granted.do("network.py", "flip_nonblock", "127.0.0.1", granted_port).result == 0
