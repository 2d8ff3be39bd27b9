"""The `network` section of a suggestion: the ports of one peer together, free ports as the range that they are."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from remit.uses import Use

_FREE = (32768, 60999)  # ip_local_port_range: what a socket bound to port 0 is given
_RANGES_MAX = 4  # for one address; then one range around them all

Ports = tuple[int, int]


def network(uses: list[Use], why: Callable[[Iterable[Use]], str]) -> CommentedMap:
    """Empty when nothing was reached. why: how often and by whom, for the end of a line."""
    section = CommentedMap()
    asked_free = {_cidr(use) for use in uses if use.kind == "bind" and use.port == 0}
    served = {use.port for use in uses if use.kind == "listen"}
    for key, kinds in (("connect", ("connect",)), ("listen", ("bind", "listen"))):
        by_peer: dict[str, list[Use]] = {}
        for use in uses:
            # What nobody can connect to: port 0 of a peer.
            if use.kind in kinds and (use.port or key == "listen"):
                by_peer.setdefault(_cidr(use), []).append(use)
        entries = CommentedSeq()
        for cidr, of_peer in sorted(by_peer.items()):
            free = {use.port for use in of_peer if _is_free(use.port) and use.port in served and asked_free}
            ranges = _ranges({use.port for use in of_peer} - free)
            for ports in [*ranges, *([_FREE] if free else [])]:
                inside = [use for use in of_peer if ports[0] <= use.port <= ports[1]]
                entry = CommentedMap(cidr=cidr, port=ports[0] if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}")
                entry.fa.set_flow_style()
                entries.append(entry)
                entries.yaml_add_eol_comment(why(inside), len(entries) - 1)
        if entries:
            section[key] = entries
    sockets = sorted({use.object for use in uses if use.kind == "unix" and use.object.startswith("/")})
    if sockets:
        section["unix"] = CommentedSeq(sockets)
    return section


def _cidr(use: Use) -> str:
    address = ipaddress.ip_address(use.object.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_free(port: int) -> bool:
    return _FREE[0] <= port <= _FREE[1]


def _ranges(ports: set[int]) -> list[Ports]:
    found: list[Ports] = []
    for port in sorted(ports):
        if found and port == found[-1][1] + 1 and found[-1][0] != 0:
            found[-1] = (found[-1][0], port)
        else:
            found.append((port, port))
    if len(found) > _RANGES_MAX:
        zero = [(0, 0)] if 0 in ports else []
        rest = [port for port in ports if port]
        return [*zero, (min(rest), max(rest))]
    return found
