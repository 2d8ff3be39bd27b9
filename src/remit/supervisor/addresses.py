"""Socket addresses as the kernel takes them, and whether a scope's grants cover them."""

from __future__ import annotations

import socket
import struct

from remit.plain import Data
from remit.plan import AddressGrant

SOCKADDR_MAX = 128  # struct sockaddr_storage
_EPHEMERAL = (32768, 60999)  # what bind to port 0 may pick, by default (ip(7), ip_local_port_range)
_MAPPED = bytes(10) + b"\xff\xff"


class Address(Data):
    """A decoded struct sockaddr. family: inet, inet6, unix, unspecified or other; path only for path-named sockets."""

    family: str
    host: str
    port: int
    packed: bytes = b""  # the network address; a v4-mapped one as IPv4
    path: str | None = None


def decode(raw: bytes) -> Address:
    """Decode a struct sockaddr; whatever is too short or unknown has the family `other`, which no grant covers."""
    if len(raw) < 2:
        return Address("other", raw.hex(), 0)
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_UNSPEC:
        return Address("unspecified", "", 0)
    if family == socket.AF_INET and len(raw) >= 8:
        return Address("inet", socket.inet_ntop(socket.AF_INET, raw[4:8]), _port(raw), raw[4:8])
    if family == socket.AF_INET6 and len(raw) >= 24:
        packed = raw[8:24]
        host = socket.inet_ntop(socket.AF_INET6, packed)
        # A v4-mapped address reaches IPv4, so it is judged as IPv4.
        return Address("inet6", host, _port(raw), packed[12:] if packed.startswith(_MAPPED) else packed)
    if family == socket.AF_UNIX:
        name = raw[2:]
        if not name or name.startswith(b"\0"):
            return Address("unix", "@" + name[1:].decode("utf-8", "surrogateescape"), 0)
        path = name.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return Address("unix", path, 0, path=path)
    return Address("other", raw.hex(), 0)


class _Network(Data):
    length: int
    prefix: int
    shift: int
    grant: AddressGrant


class GrantTable:
    """Grants prepared for look-up. Cost of a look-up grows with the number of grants."""

    def __init__(self, grants: tuple[AddressGrant, ...]) -> None:
        self._networks = [_network(grant) for grant in grants]

    def covering(self, address: Address) -> AddressGrant | None:
        """The grant that covers this address and port, or None; port 0 needs itself or all that bind may pick.

        One that asks nothing more wins over one for the session's own ports.
        """
        value = int.from_bytes(address.packed, "big")
        narrower: AddressGrant | None = None
        for network in self._networks:
            if network.length != len(address.packed) or value >> network.shift != network.prefix:
                continue
            first, last = (address.port, address.port) if address.port else _EPHEMERAL
            # A grant of port 0 itself allows to be given some port; listening on it needs a grant of its own.
            named_zero = address.port == 0 and network.grant.first_port == 0
            if named_zero or (network.grant.first_port <= first and last <= network.grant.last_port):
                if not network.grant.own:
                    return network.grant
                narrower = narrower or network.grant
        return narrower


def _network(grant: AddressGrant) -> _Network:
    host, _, bits = grant.cidr.partition("/")
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    total = len(packed) * 8
    shift = total - (int(bits) if bits else total)
    return _Network(len(packed), int.from_bytes(packed, "big") >> shift, shift, grant)


def _port(raw: bytes) -> int:
    port: int = struct.unpack_from("!H", raw, 2)[0]
    return port
