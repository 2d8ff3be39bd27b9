"""Attempts to make a socket of a kind that no wall covers, one by one, with dirty registers too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from functools import partial

from remit.attempts.attempt import Attempt, Outside, Witness, each
from remit.kernel import raw

_DIRT = 0xABCD << 32
_STREAM, _DGRAM, _RAW, _RDM, _SEQPACKET, _UNUSED, _OLD_PACKET = 1, 2, 3, 4, 5, 9, 10
_SCTP, _MPTCP, _UDPLITE = 132, 262, 136
_PACKET, _VSOCK, _ALG, _XDP = 17, 40, 38, 44

Kinds = tuple[tuple[int, int, int], ...]


def _try(call: str, family: int, kind: int, protocol: int) -> None:
    if call == "socketpair":
        numbers = raw.Memory(bytes(8))
        raw.call(call, family, kind, protocol, numbers)
        for place in (0, 4):
            os.close(int.from_bytes(numbers.content[place : place + 4], "little"))
    else:
        os.close(raw.call(call, family, kind, protocol))


def _attempt(name: str, tries: str, kinds: Iterable[tuple[int, int, int]], call: str = "socket") -> Attempt:
    chosen = tuple(kinds)

    def act(outside: Outside) -> None:
        each(
            (f"{call} {' '.join(str(value & 0xFFFFFFFF) for value in values)}", partial(_try, call, *values))
            for values in chosen
        )

    how = f"{call}, {len(chosen)} way{'s' if len(chosen) > 1 else ''}"
    return Attempt(name, "socket-kinds", tries, how, act, Witness("flow", "socket", len(chosen)))


def _internet(*pairs: tuple[int, int]) -> Kinds:
    return tuple((int(f), kind, protocol) for f in (socket.AF_INET, socket.AF_INET6) for kind, protocol in pairs)


# Every family below the last that is allowed (NETLINK, 16) is refused by a rule of its own; those above by one.
_OTHER_FAMILIES = tuple(f for f in range(16) if f not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6))

ATTEMPTS = (
    _attempt("socket-raw", "read and forge packets", _internet((_RAW, 1), (_RAW, 58), (_RAW, 255), (_OLD_PACKET, 3))),
    _attempt("socket-icmp", "send pings", _internet((_DGRAM, 1), (_DGRAM, 58))),
    _attempt("socket-sctp", "connect by SCTP", _internet((_STREAM, _SCTP), (_SEQPACKET, _SCTP))),
    _attempt("socket-mptcp", "connect by multipath TCP", _internet((_STREAM, _MPTCP))),
    _attempt("socket-udp", "send datagrams", _internet((_DGRAM, 0), (_DGRAM, 17), (_DGRAM, _UDPLITE))),
    _attempt("socket-packet", "read the wire", ((_PACKET, _RAW, 0x300), (_PACKET, _DGRAM, 0x300))),
    _attempt("socket-vsock", "reach the machine's host", ((_VSOCK, _STREAM, 0),)),
    _attempt("socket-kernel-crypto", "reach the kernel's ciphers", ((_ALG, _SEQPACKET, 0),)),
    _attempt("socket-xdp", "bypass the network stack", ((_XDP, _RAW, 0),)),
    _attempt("socket-netlink", "speak to the kernel's other netlink families",
             ((int(socket.AF_NETLINK), _RAW, protocol) for protocol in (1, 4, 9, 11, 12, 15, 16))),
    _attempt("socket-families", "any other family", ((f, _STREAM, 0) for f in (*_OTHER_FAMILIES, 31, 43, 45))),
    _attempt("socket-kinds", "any other kind of an allowed family",
             (*((int(socket.AF_UNIX), kind, 0) for kind in (_DGRAM, _RAW, _RDM, _UNUSED)),
              *_internet(*((kind, 6) for kind in (0, _DGRAM, _RAW, _RDM, _SEQPACKET, _UNUSED))))),
    _attempt("socket-protocols", "any other protocol of TCP's kind",
             _internet(*((_STREAM, protocol) for protocol in (1, 2, 3, 4, 5, 7, 17)))),
    _attempt("socket-dirty", "the same with garbage in the registers' upper halves",
             ((f | _DIRT, k | _DIRT, p | _DIRT) for f, k, p in
              ((2, _DGRAM, 0), (2, _STREAM, _MPTCP), (1, _DGRAM, 0), (16, _RAW, 16), (_PACKET, _RAW, 0x300)))),
    _attempt("pair-kinds", "a pair that may send to an address of its choice",
             (*((1, kind, 0) for kind in (_DGRAM, _RAW, _RDM, _UNUSED)), (2, _STREAM, 0)), "socketpair"),
)  # fmt: skip
