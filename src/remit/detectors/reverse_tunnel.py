"""reverse-tunnel: a way back into the session from outside, through a connection that was made from inside.

What it recognises
    A program that asks for remote forwarding (ssh -R, -w, RemoteForward, and the tunnel programs) and tries to connect.
    Whatever its name: a process that holds an SSH connection out and then connects to a service inside; and a
    process that carries the same bytes between a connection out and one inside, in both directions.

Why it matters
    Ingress filtering sees only an outgoing connection, and whoever holds the far end can reach what lies inside. A
    grant to connect to an address is no grant of a tunnel through it.

How it tells the benign twin apart
    git and rsync over ssh, `ssh HOST COMMAND` and `ssh -L` ask for nothing to come back. Downloads make a connection
    out and none inside. A test that talks to its own server connects to a port that the session itself listens on. A
    development proxy accepts one side and connects the other. Words in a shell's or git's text start nothing.

Blind spots
    A tunnel whose relay speaks neither SSH nor in the clear in one process, such as two processes joined by a pipe; a
    service inside that is reached over a unix socket; QUIC. A program that drives several SSH servers on unusual ports
    and a local service looks like a relay.

References
    ATT&CK T1572 Protocol Tunneling, T1090 Proxy, T1219 Remote Access Tools; ATLAS AML.T0072 Reverse Shell;
    OWASP Agentic ASI10 Rogue Agents, ASI02 Tool Misuse.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.attribution.lineage import ProcessTable
from remit.detectors.context import Context, is_inside
from remit.detectors.hints import Hint, Hints
from remit.detectors.tunnel_hints import read_tunnel_hint
from remit.events import Connect, Event, Exec, Exit, Flow, Fork, ProcessEvent
from remit.findings import Sighting, printable

TECHNIQUES = ("T1572", "T1090", "T1219", "AML.T0072", "ASI10", "ASI02")
SSH_PORT, DNS_PORT = 22, 53
MOST_PEERS = 64  # kept for each process; a scanner must not make the state grow
RELAYED_BYTES = 512  # in each direction, before equal volumes mean anything

Endpoint = tuple[str, int]


class _Peer:
    """One connection of a process."""

    def __init__(self, n: int, *, begun: bool, ssh: bool) -> None:
        self.n = n
        self.begun = begun
        self.ssh = ssh
        self.bytes_in = 0
        self.bytes_out = 0


class ReverseTunnel:
    behaviour = "reverse-tunnel"
    wants: frozenset[type] = frozenset({Fork, Exec, Exit, Connect, Flow})

    def __init__(self) -> None:
        self._hints = Hints(read_tunnel_hint)
        self._peers: ProcessTable[dict[Endpoint, _Peer]] = ProcessTable()

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        if not isinstance(event, ProcessEvent):
            return
        refused = self._hints.feed(event)
        match event:
            case Exec() if refused:
                yield _hinted(event, refused, context, "attempted", f"{refused.text}; it was not allowed to run")
            case Exec(errno=0):
                self._peers.forget(event.process)  # its connections are another program's, or closed
            case Fork(parent=str(parent)):
                held = self._peers.get(parent)
                if held:
                    self._peers.put(event.process, dict(held))
            case Exit():
                self._peers.exited(event.process)
            case Connect(operation="connect", family="inet" | "inet6"):
                yield from self._connected(event, context)
            case Flow(operation="sample"):
                yield from self._sampled(event, context)
            case Flow(refused=True, family="inet" | "inet6"):
                hint = self._hints.of(event.process)
                if hint:
                    yield _hinted(event, hint, context, "attempted", f"{hint.text}; its {event.operation} was refused")

    def _connected(self, event: Connect, context: Context) -> Iterator[Sighting]:
        hint = self._hints.of(event.process)
        if hint and not (event.begun and event.port == DNS_PORT):
            yield _by_hint(event, hint, context)
        if event.port == DNS_PORT:
            return
        peers = self._peers.get(event.process) or {}
        if len(peers) < MOST_PEERS:
            own = context.own_service(event.address, event.port)
            ssh = event.port == SSH_PORT and not own
            peers[event.address, event.port] = _Peer(event.n, begun=event.begun, ssh=ssh)
            self._peers.put(event.process, peers)
        yield from _relay_of_ssh(event, peers, context)

    def _sampled(self, event: Flow, context: Context) -> Iterator[Sighting]:
        peers = self._peers.get(event.process) or {}
        peer = peers.get((event.address, event.port))
        if peer is None:
            return
        peer.bytes_in, peer.bytes_out = max(peer.bytes_in, event.bytes_in), max(peer.bytes_out, event.bytes_out)
        if event.first_bytes.startswith("SSH-") and not context.own_service(event.address, event.port):
            peer.ssh = True
        yield from _relay_of_ssh(event, peers, context)
        yield from _relay_of_bytes(event, peer, peers, context)


def _by_hint(event: Connect, hint: Hint, context: Context) -> Sighting:
    place = f"{event.address}:{event.port}"
    if event.begun:
        return _hinted(event, hint, context, "succeeded", f"{hint.text}; it connected to {place}")
    outcome = "the connection was refused" if event.refused else "the connection failed"
    return _hinted(event, hint, context, "attempted", f"{hint.text}; {outcome}: {place}")


def _hinted(event: Connect | Flow | Exec, hint: Hint, context: Context, state: str, text: str) -> Sighting:
    severity = "critical" if state == "succeeded" else "high"
    return _sighting(event, context, state, severity, text, (hint.n, event.n))


def _relay_of_ssh(event: Connect | Flow, peers: dict[Endpoint, _Peer], context: Context) -> Iterator[Sighting]:
    """An SSH connection out, and after it a connection to another service inside."""
    for outside, tunnel in peers.items():
        if not (tunnel.ssh and tunnel.begun):
            continue
        for inside, service in peers.items():
            # The same port again is the same server under its next address, a second SSH server another host.
            if inside[1] == outside[1] or service.ssh or service.n <= tunnel.n or not is_inside(inside[0]):
                continue
            text = f"it holds an SSH connection to {_place(outside)} and then connected to {_place(inside)}"
            if service.begun:
                yield _sighting(event, context, "succeeded", "high", text, (tunnel.n, service.n, event.n))
            else:
                yield _sighting(event, context, "attempted", "medium", f"{text}, in vain", (tunnel.n, service.n))


def _relay_of_bytes(event: Flow, peer: _Peer, peers: dict[Endpoint, _Peer], context: Context) -> Iterator[Sighting]:
    """What came in here went out there, and the other way round."""
    here = (event.address, event.port)
    for there, other in peers.items():
        if there == here or not (peer.begun and other.begun) or not (is_inside(here[0]) or is_inside(there[0])):
            continue
        if _equal(peer.bytes_in, other.bytes_out) and _equal(peer.bytes_out, other.bytes_in):
            text = f"it carries the same bytes between {_place(here)} and {_place(there)}, in both directions"
            yield _sighting(event, context, "succeeded", "medium", text, (peer.n, other.n, event.n))


def _equal(one: int, other: int) -> bool:
    return min(one, other) >= RELAYED_BYTES and abs(one - other) <= max(one, other) // 20


def _place(endpoint: Endpoint) -> str:
    return f"{endpoint[0]}:{endpoint[1]}"


def _sighting(
    event: ProcessEvent, context: Context, state: str, severity: str, text: str, events: tuple[int, ...]
) -> Sighting:
    program = context.program(event.process) or (event.image if isinstance(event, Exec) else "?")
    clause = None if isinstance(event, Fork | Exit) else getattr(event, "clause", None)
    shown = printable(f"{context.name(event)}: {text}", 400)
    return Sighting(program, event.process, state, severity, TECHNIQUES, shown, clause, tuple(sorted(set(events))))
