"""Sizes, durations, ports and networks as people write them; what is not one is a ValueProblem, with a hint."""

from __future__ import annotations

import ipaddress
import re

SELF = "self"  # loopback, and for connect only where the session itself listens
_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]{1,3})")
_DURATION_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|[smhd])")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class ValueProblem(ValueError):
    """A value that cannot be understood, with something to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def parse_size(value: object) -> int:
    """Bytes, from `8GiB` or `500MB`."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS:
        raise ValueProblem("not a size", "write a number and one of B KiB MiB GiB TiB kB MB GB TB, such as 8GiB")
    size = int(float(match[1]) * _UNITS[match[2]])
    if size < 1:
        raise ValueProblem("a size must be more than nothing", "leave the key out for no limit")
    return size


def size_in_words(size: int) -> str:
    """The shortest that a person would write for exactly this: `300 MiB`."""
    numbers = ((f"{size / factor:g}", factor, unit) for unit, factor in _UNITS.items())
    exact = (f"{number} {unit}" for number, factor, unit in numbers if float(number) * factor == size)
    return min((text for text in exact if "e" not in text), key=len, default=f"{size} B")


def parse_duration(value: object) -> float:
    """Seconds, from `90s`, `20m`, `1h30m`."""
    text = value if isinstance(value, str) else ""
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueProblem("not a duration", "write numbers with ms, s, m, h or d, such as 20m or 1h30m")
    seconds = float(sum(float(part[1]) * _SECONDS[part[2]] for part in parts))
    if seconds <= 0:
        raise ValueProblem("a duration must be more than nothing", "leave the key out for no limit")
    return seconds


def duration_in_words(seconds: float) -> str:
    """As a person says it: `1 hour 30 minutes`."""
    counts: dict[str, float] = {}
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        counts[unit], seconds = divmod(seconds, length)
    counts["second"] = seconds
    return " ".join(f"{count:g} {unit}{'' if count == 1 else 's'}" for unit, count in counts.items() if count)


def parse_ports(value: object) -> tuple[int, int]:
    """An inclusive range, from `443` or `8000-8100`."""
    if isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        match = _PORTS.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            several = isinstance(value, list)
            hint = (
                "write an entry for each port, or a range" if several else "write a number or a range: 443, 8000-8100"
            )
            raise ValueProblem("not a port", hint)
        first, last = int(match[1]), int(match[2] or match[1])
    if not (0 <= first <= 65535 and 0 <= last <= 65535):
        raise ValueProblem("no such port", "ports go from 0 to 65535")
    if first > last:
        raise ValueProblem("a port range that runs backwards", f"write {last}-{first}")
    return first, last


def parse_cidr(value: object) -> str:
    """A network in canonical form, from `10.0.0.0/8`, `127.0.0.1` or `::1`; or `self`."""
    text = value if isinstance(value, str) else ""
    if text == SELF:
        return SELF
    if "%" in text:
        raise ValueProblem("a network has no zone", "leave the part from % on out")
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            named = re.search("[a-z]{2}", text, re.IGNORECASE) and not re.fullmatch("[0-9a-f:./]*", text, re.IGNORECASE)
            instead = "names are not granted; write" if named else "write"
            raise ValueProblem("not a network", f"{instead} an address or a network: 10.0.0.0/8, ::1") from None
        raise ValueProblem("the network has bits beyond its length", f"write {network}") from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueProblem("an IPv4 address inside IPv6", "write the IPv4 network itself")
    return str(network)
