"""What a detector may look at besides the event: the session's scope, the processes, and who listens where."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from remit.attribution.lineage import Lineage, Process
from remit.events import Connect, Event, Exec, ProcessEvent, Session
from remit.findings import Attribution, Sighting

if TYPE_CHECKING:
    import ipaddress


class Detector(Protocol):
    """Recognises one behaviour. Small state of its own, fed only the event types in `wants`, in order."""

    @property
    def behaviour(self) -> str: ...

    @property
    def wants(self) -> frozenset[type]: ...

    def feed(self, event: Event, context: Context) -> Iterable[Sighting]: ...


class Context:
    """Shared by all detectors of a session, read-only for them."""

    def __init__(self, session: Session, lineage: Lineage, charged: Callable[[str], Attribution]) -> None:
        self.session = session
        self.lineage = lineage
        self.charged = charged  # to which step an act of this process is charged now
        self.own_ports: set[int] = set()  # ports that processes of this session listen on

    def observe(self, event: Event) -> None:
        if isinstance(event, Connect) and event.operation == "listen" and event.begun and event.port:
            self.own_ports.add(event.port)

    def process(self, process: str) -> Process | None:
        return self.lineage.get(process)

    def program(self, process: str) -> str:
        """The image of a process, which serves as the key of a finding within its step."""
        found = self.lineage.get(process)
        return found.image if found else ""

    def name(self, event: ProcessEvent) -> str:
        """The program behind an event, for people: of a program that was refused, the one that was asked for."""
        if isinstance(event, Exec) and event.refused:
            return event.image.rpartition("/")[2]
        found = self.lineage.get(event.process)
        return found.name if found else "?"

    def own_service(self, address: str, port: int) -> bool:
        """Whether the session itself listens there: a test that talks to its own server."""
        return port in self.own_ports and is_local(address)


def is_local(address: str) -> bool:
    """Loopback, or the unspecified address, which Linux connects to loopback."""
    parsed = _parse(address)
    return parsed is not None and (parsed.is_loopback or parsed.is_unspecified)


def is_inside(address: str) -> bool:
    """An address of this machine or its private network: what a tunnel would open to the outside."""
    parsed = _parse(address)
    return parsed is not None and (parsed.is_loopback or parsed.is_unspecified or parsed.is_private)


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress  # not before there is an address: most commands have none

    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
