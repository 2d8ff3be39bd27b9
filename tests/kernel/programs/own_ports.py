"""A server of the session's own on loopback, and those who come to it: own_ports.py ACT ARGUMENT..."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Any

from attempt import attempt, main

FASTOPEN_CONNECT, FASTOPEN_NO_COOKIE = 30, 34


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def serve(host: str, port: str, count: str) -> list[str]:
    """Listen, say on which port, take so many connections, say what each said."""
    with socket.socket(family(host)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, int(port)))
        server.listen()
        print(server.getsockname()[1], flush=True)
        return [hear(server) for _ in range(int(count))]


def hear(server: socket.socket) -> str:
    with server.accept()[0] as peer:
        peer.sendall(b"welcome")
        return peer.recv(64).decode()


def talk(host: str, port: str, target: str = "") -> str:
    with socket.create_connection((host, int(port)), 10) as end:
        end.sendall(b"hello")
        return end.recv(64).decode()


def talk_without_waiting(host: str, port: str) -> dict[str, Any]:
    with socket.socket(family(host)) as end:
        end.setblocking(False)
        first = end.connect_ex((host, int(port)))
        select.select([], [end], [], 10)
        then = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        end.setblocking(True)
        return {"first": first, "then": then, "said": attempt(end.send, b"hello"), "heard": end.recv(64).decode()}


def put_off(host: str, port: str) -> dict[str, int]:
    """connect that only remembers the address, then a write that opens the connection."""
    with socket.socket(family(host)) as end:
        end.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
        end.setsockopt(socket.IPPROTO_TCP, FASTOPEN_NO_COOKIE, 1)
        connected = attempt(end.connect, (host, int(port)))
        return {"connected": connected, "written": attempt(end.send, b"hello")}


def listen_and_leave(host: str) -> int:
    """Listen on some port, give it back, and say which it was."""
    with socket.socket(family(host)) as server:
        server.bind((host, 0))
        server.listen()
        return int(server.getsockname()[1])


def race(host: str, port: str, tries: str) -> dict[str, int]:
    """One thread opens and closes a server on the port; another connects all the while, and counts what it meets."""
    over = threading.Event()

    def flicker() -> None:
        while not over.is_set():
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.settimeout(0.2)
                if attempt(server.bind, (host, int(port))) == 0 and attempt(server.listen) == 0:
                    attempt(server.accept)

    thread = threading.Thread(target=flicker)
    thread.start()
    met: dict[str, int] = {}
    for _ in range(int(tries)):
        with socket.socket() as end:
            error = attempt(end.connect, (host, int(port)))
            if error == 0:
                attempt(end.send, b"from inside")
            met[str(error)] = met.get(str(error), 0) + 1
    over.set()
    thread.join()
    return met


def process() -> int:
    return os.getpid()


if __name__ == "__main__":
    main({act.__name__: act for act in (serve, talk, talk_without_waiting, put_off, listen_and_leave, race, process)})
