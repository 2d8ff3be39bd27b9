"""Addresses are judged as the kernel would use them, and only a grant that names them lets them through."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.plan import AddressGrant
from remit.supervisor.addresses import GrantTable, decode


def inet(host: str, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)


def inet6(host: str, port: int) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, host)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + packed + bytes(4)


def grant(cidr: str, first: int, last: int | None = None) -> AddressGrant:
    return AddressGrant(cidr, first, last if last is not None else first, "network.connect[0]")


def test_a_grant_covers_its_network_and_ports_only() -> None:
    table = GrantTable((grant("127.0.0.0/8", 8000, 8100),))
    assert table.covering(decode(inet("127.0.0.1", 8000)))
    assert table.covering(decode(inet("127.9.9.9", 8100)))
    assert not table.covering(decode(inet("127.0.0.1", 8101)))
    assert not table.covering(decode(inet("128.0.0.1", 8000)))


def test_a_mapped_address_is_judged_as_the_address_it_reaches() -> None:
    table = GrantTable((grant("10.0.0.1/32", 80), grant("::/0", 443)))
    assert table.covering(decode(inet6("::ffff:10.0.0.1", 80)))
    assert not table.covering(decode(inet6("::ffff:10.0.0.2", 443)))


def test_an_ipv4_grant_says_nothing_of_ipv6() -> None:
    table = GrantTable((grant("0.0.0.0/0", 80),))
    assert not table.covering(decode(inet6("::1", 80)))


@pytest.mark.parametrize(
    "raw", [b"", b"\x02", inet("127.0.0.1", 80)[:7], inet6("::1", 80)[:23], b"\xff\xff" + bytes(30)]
)
def test_what_is_short_or_unknown_is_covered_by_nothing(raw: bytes) -> None:
    address = decode(raw)
    assert address.family == "other"
    assert not GrantTable((grant("0.0.0.0/0", 0, 65535), grant("::/0", 0, 65535))).covering(address)


def test_port_zero_needs_a_grant_of_itself_or_of_every_port_it_may_become() -> None:
    zero = decode(inet("127.0.0.1", 0))
    assert GrantTable((grant("127.0.0.1", 0),)).covering(zero)
    assert GrantTable((grant("127.0.0.1", 1024, 65535),)).covering(zero)
    assert not GrantTable((grant("127.0.0.1", 8000, 8100),)).covering(zero)
    assert not GrantTable((grant("127.0.0.1", 0),)).covering(decode(inet("127.0.0.1", 40000)))


def test_unix_addresses_tell_a_path_from_an_abstract_name() -> None:
    family = struct.pack("=H", socket.AF_UNIX)
    assert decode(family + b"/run/x.sock\0rest").path == "/run/x.sock"
    assert decode(family + b"\0name").path is None
    assert decode(family).path is None


@given(st.binary(max_size=140))
def test_no_bytes_make_decoding_fail(raw: bytes) -> None:
    decode(raw)


@given(st.ip_addresses(), st.ip_addresses(v=4), st.integers(0, 32), st.integers(1, 65535))
def test_networks_agree_with_ipaddress(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, base: ipaddress.IPv4Address, bits: int, port: int
) -> None:
    network = ipaddress.ip_network(f"{base}/{bits}", strict=False)
    raw = inet(str(address), port) if address.version == 4 else inet6(str(address), port)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    expected = (mapped or address) in network
    assert bool(GrantTable((grant(str(network), port),)).covering(decode(raw))) == expected
