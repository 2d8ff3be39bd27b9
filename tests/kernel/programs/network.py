"""Every way to reach somebody over a socket: network.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import threading
from typing import Any

from attempt import attempt, libc, main, system_call

FASTOPEN = 0x20000000


def make(family: str, kind: str, protocol: str) -> None:
    socket.socket(int(family), int(kind), int(protocol)).close()


def make_dirty(number: str, family: str, kind: str, protocol: str) -> int:
    """socket(2) with the upper halves of the registers filled, which the kernel ignores."""
    high = 0xABCD << 32
    descriptor = system_call(int(number), int(family) | high, int(kind) | high, int(protocol) | high)
    os.close(descriptor)
    return 0


def pair(kind: str) -> None:
    for end in socket.socketpair(socket.AF_UNIX, int(kind)):
        end.close()


def connect(host: str, port: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.connect((host, int(port)))


def converse(host: str, port: str) -> str:
    with socket.create_connection((host, int(port)), 30) as end:
        end.sendall(b"hello\n")
        return end.recv(64).decode()


def connect_without_waiting(host: str, port: str) -> dict[str, int]:
    with socket.socket() as end:
        end.setblocking(False)
        first = end.connect_ex((host, int(port)))
        select.select([], [end], [], 30)
        return {"first": first, "then": end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)}


def connect_after_dissolving(host: str, port: str) -> None:
    """A socket that was connected where it may be, dissolved by AF_UNSPEC, then pointed elsewhere."""
    with socket.socket() as end:
        address = struct.pack("=H14x", socket.AF_UNSPEC)
        libc.connect(end.fileno(), address, len(address))
        end.connect((host, int(port)))


def fast_open_connect(host: str, port: str) -> None:
    """TCP_FASTOPEN_CONNECT: connect remembers the address, the first write opens the connection."""
    with socket.socket() as end:
        end.setsockopt(socket.IPPROTO_TCP, 30, 1)
        end.connect((host, int(port)))
        end.send(b"x")


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint),
    )


def address_of(host: str, port: str) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", int(port)) + socket.inet_aton(host) + bytes(8)


def fast_open(call: str, number: str, host: str, port: str) -> int:
    """MSG_FASTOPEN connects without the hook that Landlock's connect rule hangs on."""
    end = socket.socket()
    name = ctypes.create_string_buffer(address_of(host, port), 16)
    data = ctypes.create_string_buffer(b"hello", 5)
    if call == "sendto":
        return system_call(int(number), end.fileno(), data, 5, FASTOPEN, name, 16)
    vector = Vector(ctypes.addressof(data), 5)
    header = Header(ctypes.addressof(name), 16, ctypes.addressof(vector), 1, None, 0, 0, 0)
    flags = FASTOPEN | (0xABCD << 32 if call.endswith("dirty") else 0)
    if call.startswith("sendmmsg"):
        return system_call(int(number), end.fileno(), ctypes.byref(header), 1, flags)
    return system_call(int(number), end.fileno(), ctypes.byref(header), flags)


def listen_without_bind() -> None:
    with socket.socket() as end:
        end.listen()


def bind(host: str, port: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as end:
        end.bind((host, int(port)))


def bind_unspecified(port: str) -> None:
    """On an IPv4 socket the kernel takes AF_UNSPEC for AF_INET."""
    with socket.socket() as end:
        raw = struct.pack("=H", socket.AF_UNSPEC) + struct.pack("!H", int(port)) + bytes(12)
        if libc.bind(end.fileno(), raw, len(raw)) != 0:
            raise OSError(ctypes.get_errno(), "bind")


def bind_and_listen(host: str, port: str) -> int:
    """Bind, listen, and talk to oneself; the answer is the port."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind((host, int(port)))
        end.listen()
        return int(end.getsockname()[1])


def serve_once(host: str, port: str) -> str:
    """Listen on a granted port, say so on stdout, and take one connection."""
    with socket.socket() as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind((host, int(port)))
        end.listen()
        print("listening", flush=True)
        with end.accept()[0] as peer:
            return peer.recv(64).decode()


def bind_race(port: str) -> int:
    """Swap a netlink socket for a TCP one, and its address for an IPv4 one, while bind is being judged."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    slot = os.dup(netlink.fileno())
    raw = ctypes.create_string_buffer(16)
    wanted, innocent = address_of("127.0.0.1", port), struct.pack("=H14x", socket.AF_NETLINK)
    victim, over = socket.socket(), threading.Event()

    def swap() -> None:
        while not over.is_set():
            raw.raw = wanted
            os.dup2(victim.fileno(), slot)
            raw.raw = innocent
            os.dup2(netlink.fileno(), slot)

    thread = threading.Thread(target=swap)
    thread.start()
    bound = 0
    for _ in range(500):
        libc.bind(slot, raw, 12)
        bound += victim.getsockname()[1] != 0
    over.set()
    thread.join()
    return bound


def many_waiting(host: str, port: str, count: str) -> list[int]:
    """Blocking connects to a listener that does not answer, each in a process of its own; errno of those that
    came back at once, which is when the others hold every worker."""
    reader, writer = os.pipe()
    children = []
    for _ in range(int(count)):
        pid = os.fork()
        if pid == 0:
            with socket.socket() as end:
                os.write(writer, bytes([end.connect_ex((host, int(port)))]))
            os._exit(0)
        children.append(pid)
    # As many as there is no worker for answer; the others wait.
    came_back = []
    while len(came_back) < int(count) - 16:
        came_back += list(os.read(reader, 64))
    for pid in children:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return came_back


def many_parked(host: str, port: str) -> None:
    """As many blocking connects as there are workers, in processes that stay until they are killed."""
    reader, writer = os.pipe()
    for _ in range(16):
        if os.fork() == 0:
            os.write(writer, b".")
            with socket.socket() as end:
                end.connect_ex((host, int(port)))
            os._exit(0)
    for _ in range(16):
        os.read(reader, 1)
    print("parked", flush=True)
    os.wait()


def flip_nonblock(host: str, port: str) -> int:
    """A thread makes the socket blocking while connect is being judged; another connect must not wait for it."""
    with socket.socket() as end:
        end.setblocking(False)
        over = threading.Event()

        def flip() -> None:
            while not over.is_set():
                os.set_blocking(end.fileno(), True)
                os.set_blocking(end.fileno(), False)

        thread = threading.Thread(target=flip, daemon=True)
        thread.start()
        waiter = threading.Thread(target=end.connect_ex, args=((host, int(port)),), daemon=True)
        waiter.start()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind("\0")  # asks the deputy, too
        over.set()
        thread.join()
        return 0


def unix_connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.connect("\0" + path[1:] if path.startswith("@") else path)


def unix_connect_from(directory: str, path: str) -> None:
    os.chdir(directory)
    unix_connect(path)


def unix_link(how: str, path: str) -> dict[str, int]:
    """Lead to an outsider's socket by another name in the workspace, then connect to that."""
    place = f"by-{how}.sock"
    act: Any = {"symlink": os.symlink, "link": os.link, "rename": os.rename}[how]
    made = attempt(act, path, place)
    try:
        return {"made": made, "connected": attempt(unix_connect, place)}
    finally:
        if os.path.lexists(place):
            os.unlink(place)


def unix_reused_number(path: str, directory: str) -> dict[str, Any]:
    """Bind and give back sockets, so that the outsider that now binds gets one of their numbers; then write to it."""
    names = [f"{directory}/own-{index}" for index in range(64)]
    numbers = []
    for name in names:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(name)
        numbers.append(os.stat(name).st_ino)
    for name in names:
        os.unlink(name)
    print("given back", flush=True)
    input()
    reused = os.stat(path).st_ino in numbers
    written = 0
    for _ in range(50):
        end = socket.socket(socket.AF_UNIX)
        over = threading.Event()

        def write(end: socket.socket = end, over: threading.Event = over) -> None:
            while not over.is_set():
                if attempt(end.send, b"POST /containers/create") == 0:
                    return

        thread = threading.Thread(target=write)
        thread.start()
        error = attempt(end.connect, path)
        over.set()
        thread.join()
        end.close()
        written += error == 0
    return {"reused": reused, "connected": written}


def unix_own(name: str) -> str:
    """A socket of one's own, by path or abstract: bind, listen, connect, talk."""
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(address)
        server.listen()
        client.connect(address)
        with server.accept()[0] as peer:
            client.send(b"hello")
            return peer.recv(16).decode()


def unix_bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path)


def not_a_socket() -> dict[str, int]:
    """The calls on a descriptor that is no socket, which a program does when it is confused, or curious."""
    descriptor = os.open("/dev/null", os.O_RDONLY)
    raw = b"\x01\x00\x00name"
    outcome = {}
    for name, arguments in (("connect", (raw, len(raw))), ("bind", (raw, len(raw))), ("listen", (1,))):
        outcome[name] = 0 if getattr(libc, name)(descriptor, *arguments) == 0 else ctypes.get_errno()
    return outcome


def wrong_family(path: str) -> dict[str, int]:
    """A TCP socket pointed at the path of a unix socket."""
    raw = struct.pack("=H", socket.AF_UNIX) + path.encode() + b"\0"
    with socket.socket() as end:
        return {
            name: 0 if getattr(libc, name)(end.fileno(), raw, len(raw)) == 0 else ctypes.get_errno()
            for name in ("connect", "bind")
        }


def odd_addresses(number: str) -> list[int]:
    """Pointers, lengths and descriptors that make no sense, each answered as the kernel would."""
    outcome = []
    with socket.socket() as end:
        good = ctypes.create_string_buffer(address_of("127.0.0.1", "9"), 16)
        for descriptor, pointer, length in (
            (end.fileno(), 0, 16),
            (end.fileno(), 8, 16),
            (-1, ctypes.addressof(good), 16),
            (9999, ctypes.addressof(good), 16),
            (end.fileno(), ctypes.addressof(good), 0),
            (end.fileno(), ctypes.addressof(good), 1),
            (end.fileno(), ctypes.addressof(good), 7),
            (end.fileno(), ctypes.addressof(good), 129),
            (end.fileno(), ctypes.addressof(good), -1),
        ):
            outcome.append(attempt(system_call, int(number), descriptor, pointer, length))
    return outcome


def secret_memory(number: str, host: str, port: str) -> int:
    """An address in memory that only its owner can read: memfd_secret(2)."""
    import mmap

    descriptor = system_call(447, 0)
    os.ftruncate(descriptor, 4096)
    page = mmap.mmap(descriptor, 4096)
    page[:16] = address_of(host, port)
    with socket.socket() as end:
        return system_call(int(number), end.fileno(), ctypes.addressof(ctypes.c_char.from_buffer(page)), 16)


def route() -> int:
    """What getaddrinfo asks of the kernel."""
    return len(socket.getaddrinfo("localhost", 80))


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
