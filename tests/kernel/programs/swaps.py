"""A thread swaps the socket behind a descriptor while a call on it is judged: swaps.py ACT PORT TIMES."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections import Counter
from typing import Any

from attempt import libc, main


def address_of(port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton("127.0.0.1") + bytes(8)


class Swap:
    """A slot with now the innocent socket, now the victim in it, and memory with now one, now the other address."""

    def __init__(self, innocent: socket.socket, victim: socket.socket, shown: bytes, wanted: bytes) -> None:
        self.sockets = innocent, victim
        self.slot = os.dup(innocent.fileno())
        self.memory = ctypes.create_string_buffer(shown, 16)
        self.addresses = shown, wanted
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swap)

    def __enter__(self) -> Swap:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._thread.join()

    def _swap(self) -> None:
        innocent, victim = (end.fileno() for end in self.sockets)
        while not self._over.is_set():
            self.memory.raw = self.addresses[1]
            os.dup2(victim, self.slot)
            self.memory.raw = self.addresses[0]
            os.dup2(innocent, self.slot)


def repeat(act: Any, gained: Any, times: str) -> dict[str, Any]:
    """Call and look whether the victim got what it must not have."""
    errors: Counter[int] = Counter()
    won = 0
    for _ in range(int(times)):
        errors[0 if act() >= 0 else ctypes.get_errno()] += 1
        won += bool(gained())
    return {"gained": won, "errors": errors}


def netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)


def bind(port: str, times: str) -> dict[str, Any]:
    victim = socket.socket()
    with Swap(netlink(), victim, struct.pack("=H14x", socket.AF_NETLINK), address_of(int(port) + 1)) as swap:
        return repeat(lambda: libc.bind(swap.slot, swap.memory, 12), lambda: victim.getsockname()[1], times)


def listen(port: str, times: str) -> dict[str, Any]:
    victim, own = socket.socket(), socket.socket(socket.AF_UNIX)
    own.bind("\0swaps")
    with Swap(own, victim, bytes(16), bytes(16)) as swap:
        return repeat(
            lambda: libc.listen(swap.slot, 1),
            lambda: victim.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
            times,
        )


def connect(port: str, times: str) -> dict[str, Any]:
    """A unix address for a unix socket is judged, a TCP socket and its address are there when it is done."""
    victim, server = socket.socket(), socket.socket(socket.AF_UNIX)
    server.bind("\0swaps-server")
    shown = struct.pack("=H", socket.AF_UNIX) + b"\0swaps-nobody"
    with Swap(socket.socket(socket.AF_UNIX), victim, shown, address_of(int(port))) as swap:
        return repeat(lambda: libc.connect(swap.slot, swap.memory, 15), lambda: is_connected(victim), times)


def sendto(port: str, times: str) -> dict[str, Any]:
    victim = socket.socket()
    data = ctypes.create_string_buffer(16)
    with Swap(netlink(), victim, struct.pack("=H14x", socket.AF_NETLINK), address_of(int(port))) as swap:
        return repeat(lambda: libc.sendto(swap.slot, data, 1, 0, swap.memory, 16), lambda: is_connected(victim), times)


def is_connected(end: socket.socket) -> bool:
    try:
        end.getpeername()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main({"bind": bind, "listen": listen, "connect": connect, "sendto": sendto})
