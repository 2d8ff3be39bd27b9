"""Words for what was refused, and what a person can do about it when the task is honest."""

from __future__ import annotations

from typing import Any

from remit.events import Flow

# socket(2): numbers that are the same on every architecture Linux runs remit on.
_TYPES = {1: "stream", 2: "datagram", 3: "raw", 5: "seqpacket"}
_INTERNET = ("inet", "inet6")
_ICMP = (1, 58)
_DEBUGGERS = ("strace", "ltrace", "gdb", "gdbserver", "lldb", "lldb-server", "rr", "perf")


def socket_in_words(event: Flow) -> str:
    """A refused socket, or what a refused send was."""
    if event.operation != "socket":
        return "to an address"
    family, kind = event.family, _TYPES.get(event.socket_type, str(event.socket_type))
    if family in _INTERNET and kind == "datagram":
        return "for ping (ICMP)" if event.protocol in _ICMP else "for UDP (DNS look-up?)"
    if family == "unix" and kind == "datagram":
        return "for unix datagrams (system log?)"
    protocol = f", protocol {event.protocol}" if event.protocol else ""
    return f"of family {family}, type {kind}{protocol}"


def advice(denial: dict[str, Any]) -> str | None:
    """A hint for a denial that ordinary programs meet, or None."""
    program = denial["program"].rpartition("/")[2]
    if denial["operation"] == "ptrace":
        if program in _DEBUGGERS:
            return "no scope grants ptrace; run the debugger outside remit"
        return "if this is LeakSanitizer, ASAN_OPTIONS=detect_leaks=0 runs the rest of AddressSanitizer"
    if denial["object"].startswith("for UDP "):
        return "a scope grants a resolver in network.udp, such as {cidr: 192.0.2.53, port: 53}"
    return None
