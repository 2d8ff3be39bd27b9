"""Attempts to reach somebody over a socket: TCP in every spelling, fast open, listening, unix sockets by every name."""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from functools import partial

from remit.attempts.attempt import Act, Attempt, Outside, Skip, Witness, each
from remit.kernel import raw
from remit.kernel.libc import socket_call

_FASTOPEN = 0x20000000
_FASTOPEN_CONNECT = 30
_CONNECT, _SEND = Witness("connect"), Witness("flow", "send")


def _connect_to(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.setblocking(False)  # a wall answers at once
        end.connect((host, port))


def _connect_v4(outside: Outside) -> None:
    if not outside.tcp4:
        raise Skip("every port is granted")
    each((host, partial(_connect_to, host, outside.tcp4)) for host in ("127.0.0.1", "0.0.0.0"))


def _connect_v6(outside: Outside) -> None:
    if not outside.tcp6:
        raise Skip("this machine has no IPv6 loopback")
    each((host, partial(_connect_to, host, outside.tcp6)) for host in ("::1", "::"))


def _connect_mapped(outside: Outside) -> None:
    if not outside.tcp6:
        raise Skip("this machine has no IPv6 loopback")
    _connect_to("::ffff:127.0.0.1", outside.tcp4)


def _connect_after_dissolving(outside: Outside) -> None:
    with socket.socket() as end:
        socket_call("connect", end.fileno(), struct.pack("=H14x", socket.AF_UNSPEC))
        end.setblocking(False)
        end.connect(("127.0.0.1", outside.tcp4))


def _fast_open_option(outside: Outside) -> None:
    """TCP_FASTOPEN_CONNECT: connect only notes the address, the first write opens the connection."""
    with socket.socket() as end:
        end.setsockopt(socket.IPPROTO_TCP, _FASTOPEN_CONNECT, 1)
        end.connect(("127.0.0.1", outside.tcp4))
        end.send(b"x")


def _address(port: int) -> raw.Memory:
    return raw.Memory(struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1")))


def _message(address: raw.Memory, data: raw.Memory) -> tuple[raw.Memory, raw.Memory]:
    """struct msghdr, which begins a struct mmsghdr too, and the vector that it points to."""
    vector = raw.Memory(struct.pack("=QQ", data.address, len(data.content)))
    return raw.Memory(struct.pack("=QIxxxxQQQQixxxxQ", address.address, 16, vector.address, 1, 0, 0, 0, 0)), vector


def _send_flag(name: str) -> Act:
    def act(outside: Outside) -> None:
        data, address = raw.Memory(b"hello"), _address(outside.tcp4)
        header, vector = _message(address, data)
        with socket.socket() as end:
            if name == "sendmsg":
                raw.call(name, end.fileno(), header, _FASTOPEN)
            else:
                raw.call(name, end.fileno(), header, 1, _FASTOPEN)
        del vector

    return act


def _send_to(outside: Outside) -> None:
    data, address = raw.Memory(b"hello"), _address(outside.tcp4)
    with socket.socket() as end:
        number = end.fileno()
        each(
            (
                ("with an address", lambda: raw.call("sendto", number, data, 5, _FASTOPEN, address, 16)),
                ("with an address and no flag", lambda: raw.call("sendto", number, data, 5, 0, address, 16)),
                ("with a flag and no address", lambda: raw.call("sendto", number, data, 5, _FASTOPEN, 0, 0)),
            )
        )


def _route(outside: Outside) -> None:
    """Options that name hops on the way send packets there first, whatever was judged. Here they name none."""
    nothing = raw.Memory(bytes((1, 1, 1, 1)))
    with socket.socket() as four, socket.socket(socket.AF_INET6) as six:
        each(
            (
                f"level {level} option {option}",
                partial(raw.call, "setsockopt", end.fileno(), level, option, nothing, size),
            )
            for end, level, option, size in ((four, 0, 4, 4), (six, 41, 5, 0), (six, 41, 6, 0), (six, 41, 57, 0))
        )


def _bind(outside: Outside) -> None:
    def bind(family: int, host: str) -> None:
        with socket.socket(family) as end:
            end.bind((host, outside.free_port))

    def without_family() -> None:
        """On an IPv4 socket the kernel takes AF_UNSPEC for AF_INET."""
        with socket.socket() as end:
            error = socket_call("bind", end.fileno(), struct.pack("=H", 0) + struct.pack("!H12x", outside.free_port))
            if error:
                raise OSError(error, os.strerror(error))

    ways: list[tuple[str, Callable[[], object]]] = [
        ("127.0.0.1", lambda: bind(socket.AF_INET, "127.0.0.1")),
        ("0.0.0.0", lambda: bind(socket.AF_INET, "0.0.0.0")),
        ("without a family", without_family),
    ]
    if outside.tcp6:
        ways.append(("::1", lambda: bind(socket.AF_INET6, "::1")))
    each(ways)


def _listen(outside: Outside) -> None:
    with socket.socket() as end:
        end.listen()


def _unix(path: str, directory: str = "") -> None:
    here = os.getcwd()
    if directory:
        os.chdir(directory)  # keeps the address short: sun_path holds 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.setblocking(False)
            end.connect(path)
    finally:
        os.chdir(here)


def _unix_path(outside: Outside) -> None:
    each(
        (
            ("by its path", lambda: _unix(f"{outside.directory}/stream.sock")),
            ("from its directory", lambda: _unix("stream.sock", outside.directory)),
            ("by the root of a process", lambda: _unix(f"/proc/self/root{outside.directory}/stream.sock")),
        )
    )


def _unix_link(outside: Outside) -> None:
    place = "link.sock"
    os.symlink(f"{outside.directory}/stream.sock", place)
    try:
        _unix(place)
    finally:
        os.unlink(place)


def _unix_abstract(outside: Outside) -> None:
    _unix("\0" + outside.abstract)


def _received(outside: Outside) -> None:
    """A socket of any kind may come by SCM_RIGHTS, so whoever could hand one over must be out of reach."""
    with socket.socket(socket.AF_UNIX) as end:
        end.setblocking(False)
        end.connect("\0" + outside.abstract)
        readable, _, _ = select.select([end], [], [], 5)
        if not readable:
            raise OSError(errno.EACCES, "nothing came")
        size = array.array("i").itemsize
        end.recvmsg(16, socket.CMSG_SPACE(size))


def _unix_bind(outside: Outside) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{outside.directory}/planted.sock")


def _datagram(outside: Outside) -> None:
    """A pair of datagram sockets may still send to an address of its choice."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ends[0].sendto(b"hello", f"{outside.directory}/datagram.sock")


def _udp(outside: Outside) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"hello", ("127.0.0.1", outside.udp))


def _multipath(outside: Outside) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as end:
        end.connect(("127.0.0.1", outside.tcp4))


_TWICE = Witness("connect", times=2)

ATTEMPTS = (
    Attempt("tcp-v4", "addresses", "connect to a port no grant names", "connect, two spellings", _connect_v4, _TWICE),
    Attempt("tcp-v6", "addresses", "the same over IPv6", "connect, two spellings", _connect_v6, _TWICE),
    Attempt("tcp-v4-mapped", "addresses", "the same by a mapped address", "connect", _connect_mapped, _CONNECT),
    Attempt(
        "tcp-after-dissolving", "addresses", "connect a socket that was dissolved by AF_UNSPEC", "connect twice",
        _connect_after_dissolving, _CONNECT,
    ),
    Attempt(
        "tcp-fast-open-option", "addresses", "connect by the first write", "setsockopt TCP_FASTOPEN_CONNECT, connect",
        _fast_open_option, _CONNECT,
    ),
    Attempt("fast-open-sendto", "addresses", "connect by sending", "sendto MSG_FASTOPEN", _send_to,
            Witness("flow", "send", 3)),
    Attempt("fast-open-sendmsg", "addresses", "connect by sending", "sendmsg MSG_FASTOPEN", _send_flag("sendmsg"),
            _SEND),
    Attempt("fast-open-sendmmsg", "addresses", "connect by sending", "sendmmsg MSG_FASTOPEN", _send_flag("sendmmsg"),
            _SEND),
    Attempt("mptcp", "socket-kinds", "connect past the TCP wall", "socket IPPROTO_MPTCP, connect", _multipath,
            Witness("flow", "socket")),
    Attempt("udp", "socket-kinds", "send to an outsider without connecting", "socket SOCK_DGRAM, sendto", _udp,
            Witness("flow", "socket")),
    Attempt("source-route", "system-calls", "lead packets by a way of one's own", "setsockopt, four options", _route,
            Witness("privilege", "setsockopt", 4)),
    Attempt("bind", "addresses", "take a port no grant names", "bind, each address", _bind, Witness("bind", "bind", 3)),
    Attempt("listen-without-bind", "addresses", "have the kernel choose a port", "listen", _listen,
            Witness("bind", "listen")),
    Attempt("unix-path", "unix-sockets", "connect to an outsider's socket by its path", "connect", _unix_path,
            Witness("connect", times=3)),
    Attempt("unix-link", "unix-sockets", "the same through a link of one's own", "symlink, connect", _unix_link,
            _CONNECT),
    Attempt("unix-abstract", "abstract-sockets", "connect to an outsider's abstract socket", "connect", _unix_abstract,
            _CONNECT, gaps=("abstract-sockets-unwalled",)),
    Attempt("socket-handed-over", "abstract-sockets", "be handed a socket by an outsider",
            "connect, recvmsg SCM_RIGHTS", _received, _CONNECT, gaps=("abstract-sockets-unwalled",)),
    Attempt("unix-bind", "files", "make a socket outside", "bind", _unix_bind, Witness("bind", "bind"),
            gaps=("files-unwalled",)),
    Attempt("datagram-pair", "socket-kinds", "send to a path from a connected pair", "socketpair SOCK_DGRAM, sendto",
            _datagram, Witness("flow", "socket")),
)  # fmt: skip
