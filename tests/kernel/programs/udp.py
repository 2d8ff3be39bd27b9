"""Datagrams to where the scope lets them go, and to where it does not: udp.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from typing import Any

from attempt import attempt, libc, main, system_call
from network import Header, Vector, address_of

SENDMSG, SENDMMSG = 46, 307
QUESTION = b"\x12\x34 who is example.org?"
IP_OPTIONS, IPV6_RTHDR, IPV6_2292RTHDR = 4, 57, 5


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def answered(end: socket.socket) -> str:
    end.settimeout(10)
    data, peer = end.recvfrom(512)
    return f"{data.decode()} from {peer[0]}:{peer[1]}"


def sendto(host: str, port: str) -> str:
    with socket.socket(family(host), socket.SOCK_DGRAM) as end:
        end.sendto(QUESTION, (host, int(port)))
        return answered(end)


def connected(host: str, port: str) -> str:
    with socket.socket(family(host), socket.SOCK_DGRAM) as end:
        end.connect((host, int(port)))
        end.send(QUESTION)
        return answered(end)


def bound(host: str, port: str, own: str) -> str:
    with socket.socket(family(host), socket.SOCK_DGRAM) as end:
        end.bind(("0.0.0.0", int(own)))
        end.sendto(QUESTION, (host, int(port)))
        return answered(end)


def sendmsg(host: str, port: str) -> str:
    with socket.socket(family(host), socket.SOCK_DGRAM) as end:
        end.sendmsg([QUESTION[:4], QUESTION[4:]], [], 0, (host, int(port)))
        return answered(end)


class Many(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", Header), ("sent", ctypes.c_uint))


def headers(count: int, name: bytes | None) -> Any:
    """So many messages, each in two vectors; kept alive by the array that is returned with them."""
    parts = [ctypes.create_string_buffer(QUESTION[:4], 4), ctypes.create_string_buffer(QUESTION[4:])]
    vectors = (Vector * 2)(Vector(ctypes.addressof(parts[0]), 4), Vector(ctypes.addressof(parts[1]), len(QUESTION) - 4))
    where = ctypes.create_string_buffer(name or b"", 16)
    pointer = ctypes.addressof(where) if name else None
    made = (Many * count)()
    for index in range(count):
        made[index].header = Header(pointer, 16 if name else 0, ctypes.addressof(vectors), 2, None, 0, 0, 0)
    return made, (parts, vectors, where)


def sendmmsg(host: str, port: str, way: str) -> dict[str, Any]:
    """Two questions at once, as resolvers ask for both kinds of address; `connected` or each with its `address`."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as end:
        if way == "connected":
            end.connect((host, int(port)))
        made, _kept = headers(2, None if way == "connected" else address_of(host, port))
        count = system_call(SENDMMSG, end.fileno(), ctypes.byref(made), 2, 0x4000)
        return {"count": count, "lengths": [made[0].sent, made[1].sent], "heard": [answered(end), answered(end)]}


def unspecified(host: str, port: str) -> None:
    """An address without a family, which UDP takes for IPv4."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        raw = struct.pack("=H", socket.AF_UNSPEC) + address_of(host, port)[2:]
        if libc.sendto(end.fileno(), QUESTION, len(QUESTION), 0, raw, len(raw)) < 0:
            raise OSError(ctypes.get_errno(), "sendto")


def after_connect(host: str, port: str, granted: str) -> None:
    """Connected to whom it may speak, then sent elsewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.connect((host, int(granted)))
        end.sendto(QUESTION, (host, int(port)))


def through_ipv6(host: str, port: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as end:
        raw = address_of(host, port)  # an IPv4 address on an IPv6 socket
        if libc.sendto(end.fileno(), QUESTION, len(QUESTION), 0, raw, len(raw)) < 0:
            raise OSError(ctypes.get_errno(), "sendto")


def mapped(host: str, port: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as end:
        end.sendto(QUESTION, (f"::ffff:{host}", int(port)))


def control(host: str, port: str) -> None:
    """A source address beside the message."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        packet_info = (socket.IPPROTO_IP, 8, struct.pack("=i4s4s", 0, bytes(4), bytes(4)))
        end.sendmsg([QUESTION], [packet_info], 0, (host, int(port)))


def source_routes() -> dict[str, int]:
    """Options that send packets elsewhere than to their address."""
    hop = socket.inet_aton("127.0.0.9")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as six,
    ):
        return {
            "loose": attempt(four.setsockopt, 0, IP_OPTIONS, b"\x83\x07\x04" + hop + b"\0"),
            "strict": attempt(four.setsockopt, 0, IP_OPTIONS, b"\x89\x07\x04" + hop + b"\0"),
            "header": attempt(six.setsockopt, 41, IPV6_RTHDR, bytes(24)),
            "old header": attempt(six.setsockopt, 41, IPV6_2292RTHDR, bytes(24)),
            "no delay": attempt(four.setsockopt, 6, 1, 1),
            "time to live": attempt(four.setsockopt, 0, 2, 9),
        }


def race(call: str, host: str, granted: str, forbidden: str, tries: str) -> dict[str, int]:
    """A thread flips the port of the address, or the descriptor, while a send is being judged."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    slot = os.dup(end.fileno())
    wanted, innocent = address_of(host, forbidden), address_of(host, granted)
    name = ctypes.create_string_buffer(innocent, 16)
    data = ctypes.create_string_buffer(QUESTION, len(QUESTION))
    vector = Vector(ctypes.addressof(data), len(QUESTION))
    header = Header(ctypes.addressof(name), 16, ctypes.addressof(vector), 1, None, 0, 0, 0)
    over = threading.Event()

    def flip() -> None:
        while not over.is_set():
            if call == "pointer":
                header.name = None
                header.name = ctypes.addressof(name)
                name.raw = wanted
            elif call == "descriptor":
                name.raw = wanted
                os.dup2(netlink.fileno(), slot)
                os.dup2(end.fileno(), slot)
            else:
                name.raw = wanted
            name.raw = innocent

    thread = threading.Thread(target=flip)
    thread.start()
    met: dict[str, int] = {}
    for _ in range(int(tries)):
        if call in ("sendmsg", "pointer"):
            error = attempt(system_call, SENDMSG, slot, ctypes.byref(header), 0)
        elif call == "connect":
            error = 0 if libc.connect(slot, name, 16) == 0 else ctypes.get_errno()
            attempt(end.send, QUESTION)
        else:
            error = 0 if libc.sendto(slot, data, len(QUESTION), 0, name, 16) >= 0 else ctypes.get_errno()
        met[str(error)] = met.get(str(error), 0) + 1
    over.set()
    thread.join()
    return met


def streams() -> int:
    """sendmsg on a stream that is read slowly: all of it arrives, in order, in however many calls."""
    one, other = socket.socketpair()
    heard: list[bytes] = []

    def listen() -> None:
        while piece := other.recv(4096):
            heard.append(piece)

    thread = threading.Thread(target=listen)
    thread.start()
    data = os.urandom(300_000)
    sent = 0
    while sent < len(data):
        sent += one.sendmsg([data[sent : sent + 1000], data[sent + 1000 :]])
    one.close()
    thread.join()
    return len(heard) and int(b"".join(heard) == data)


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
