"""inside_sockets.py ACT ARGUMENT...: what an agent may do with sockets; prints what it saw as one JSON object."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
import urllib.request
from collections import Counter
from typing import Any


def family_of(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def number_of(act: Any, *arguments: Any) -> int:
    """The errno of a call, 0 when it works."""
    try:
        act(*arguments)
    except OSError as problem:
        return problem.errno or -1
    return 0


def ready(end: socket.socket) -> bool:
    waiting = select.poll()
    waiting.register(end, select.POLLOUT)
    return bool(waiting.poll(5000))


def connects(host: str, port: str, closed: str, forbidden: str) -> dict[str, Any]:
    """Blocking ones: what works, what is refused by the peer and by the scope, and again on the same socket."""
    end = socket.socket(family_of(host), socket.SOCK_STREAM)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    twin = end.dup()
    said = {
        "closed": number_of(end.connect, (host, int(closed))),
        "forbidden": number_of(end.connect, (host, int(forbidden))),
        "then": number_of(end.connect, (host, int(port))),
        "again": number_of(end.connect, (host, int(port))),
        "bind": number_of(end.bind, (host, 0)),
        "listen": number_of(end.listen),
        "peer": twin.getpeername()[1],
        "options": [
            end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ],
        "no socket": number_of(lambda: socket.socket(fileno=os.open("/dev/null", os.O_RDONLY))),
    }
    twin.sendall(b"ping")
    said["heard"] = end.recv(16).decode()
    return said


def without_waiting(host: str, port: str, closed: str) -> dict[str, Any]:
    """Non-blocking ones, with an epoll that knows the socket from before, and flags that stay as they were."""
    end = socket.socket(family_of(host), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    plain = ctypes.CDLL(None).socket(family_of(host), socket.SOCK_STREAM, 0)
    watching = select.epoll()
    watching.register(end, select.EPOLLOUT)
    first = number_of(end.connect, (host, int(port)))
    events = watching.poll(5)
    error = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    time.sleep(0.1)
    refused = socket.socket(family_of(host), socket.SOCK_STREAM)
    refused.setblocking(False)
    at_once = number_of(refused.connect, (host, int(closed)))
    ready(refused)
    time.sleep(0.1)  # whoever else looks must not take the error away
    late = refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    # The first call tells of the end of the last one (ECONNABORTED), the next begins anew.
    retried = [number_of(refused.connect, (host, int(port))) for _ in range(2)]
    ready(refused)
    return {
        "first": first,
        "events": len(events),
        "error": error,
        "again": [number_of(end.connect, (host, int(port))) for _ in range(2)],
        "blocking": os.get_blocking(end.fileno()),
        "inheritable": [os.get_inheritable(end.fileno()), bool(not fcntl.fcntl(plain, fcntl.F_GETFD))],
        "refused": at_once or late,
        "late": late,
        "retried": [*retried, refused.getpeername()[1]],
    }


def serve(host: str) -> dict[str, Any]:
    """A server of one's own, its port given back and taken again, and nobody answering once it is closed."""
    said: dict[str, Any] = {"unbound": number_of(socket.socket(family_of(host)).listen)}
    with socket.socket(family_of(host)) as server:
        server.bind((host, 0))
        server.listen()
        port = server.getsockname()[1]
        said["second listen"] = number_of(server.listen, 5)
        client = socket.create_connection((host, port))
        accepted, _ = server.accept()
        client.sendall(b"hello")
        said["heard"] = accepted.recv(16).decode()
        said["on accepted"] = number_of(accepted.connect, (host, port))
        for end in (accepted, client):  # nobody waits in TIME_WAIT: the port itself must be free again
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
    said["closed"] = number_of(socket.create_connection, (host, port))
    with socket.socket(family_of(host)) as server:
        said["bound again"] = number_of(server.bind, (host, port))
        said["listening again"] = number_of(server.listen)
        said["refused port"] = number_of(socket.socket(family_of(host)).bind, (host, 1))
    return said


def programs(port: str) -> dict[str, Any]:
    """What real programs use."""

    async def talk() -> int:
        with socket.create_server(("127.0.0.1", 0)) as first:
            own = first.getsockname()[1]
        server = await asyncio.start_server(lambda reader, writer: writer.close(), ["127.0.0.1", "::1"], own)
        reader, writer = await asyncio.open_connection("127.0.0.1", own)
        ended = await reader.read()
        writer.close()
        server.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        text = await reader.read()
        writer.close()
        return len(text) if not ended else -1

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        length = len(answer.read())
    path = f"{os.environ['TMPDIR']}/own.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("\0own of this session")
        server.listen()
        client.connect("\0own of this session")
    names = len(socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    return {"urllib": length, "asyncio": asyncio.run(talk()), "names": names > 0}


def races(host: str, port: str, forbidden: str, count: str) -> dict[str, int]:
    """Another thread changes the address all the time, and what lies under the number."""
    libc = ctypes.CDLL(None, use_errno=True)
    raw = bytearray(struct.pack("=H", family_of(host)) + struct.pack("!H", int(port)))
    raw += socket.inet_aton(host) + bytes(8)
    shared = (ctypes.c_char * len(raw)).from_buffer(raw)
    ports = [struct.pack("!H", int(number)) for number in (port, forbidden)]
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            for number in ports:
                raw[2:4] = number

    flipping = threading.Thread(target=flip)
    flipping.start()
    sys.setswitchinterval(1e-5)
    seen: Counter[int] = Counter()
    for _ in range(int(count)):
        with socket.socket() as end:
            failed = libc.connect(end.fileno(), shared, len(raw))
            error = ctypes.get_errno() if failed else 0
            seen[error] += 1
            if not error and end.getpeername()[1] != int(port):
                seen[-1] += 1
    stop.set()
    flipping.join()
    return {errno.errorcode.get(error, str(error)): times for error, times in seen.items()}


def swaps(host: str, port: str, count: str) -> dict[str, int]:
    """Another thread puts other sockets, and what is none, under the number that is connected."""
    fresh = [socket.socket() for _ in range(60)]
    stop = threading.Event()
    number = os.dup(0)

    def swap() -> None:
        one, two = socket.socketpair()
        while not stop.is_set():
            for end in fresh:
                for other in (end.fileno(), one.fileno(), end.fileno(), 0):
                    os.dup2(other, number)
        two.close()

    swapping = threading.Thread(target=swap)
    swapping.start()
    sys.setswitchinterval(1e-5)
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", int(port)) + socket.inet_aton(host) + bytes(8)
    libc = ctypes.CDLL(None, use_errno=True)
    seen: Counter[int] = Counter()
    for _ in range(int(count)):
        failed = libc.connect(number, address, len(address))
        seen[ctypes.get_errno() if failed else 0] += 1
    stop.set()
    swapping.join()
    return {errno.errorcode.get(error, str(error)): times for error, times in seen.items()}


def limits() -> dict[str, Any]:
    """The agent's own limit on descriptors holds, and sockets that were closed count for nothing."""
    for _ in range(3000):
        socket.socket().close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    held: list[socket.socket] = []
    error = number_of(lambda: [held.append(socket.socket()) for _ in range(40)])
    return {"error": error, "held": len(held) > 20}


def stay(host: str, port: str, seconds: str) -> dict[str, Any]:
    """Hold a connection whose other end speaks."""
    with socket.create_connection((host, int(port))) as end:
        time.sleep(0.3)
        text = end.recv(64).decode()
        end.sendall(b"x" * 1000)
        time.sleep(float(seconds))
    return {"heard": text}


def leave(host: str, port: str) -> dict[str, Any]:
    """Connect and close: the other end must see it soon."""
    with socket.create_connection((host, int(port))):
        pass
    time.sleep(2)
    return {}


def datagrams() -> dict[str, Any]:
    return {"error": number_of(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)}


def connect(host: str, port: str) -> dict[str, Any]:
    with socket.socket(family_of(host)) as end:
        return {"error": number_of(end.connect, (host, int(port)))}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
