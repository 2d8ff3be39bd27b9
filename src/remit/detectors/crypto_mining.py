"""crypto-mining: compute that was given for the task earns coins for somebody.

What it recognises
    A program whose name or arguments speak of mining (a miner's name, a Stratum address, donate-level, a wallet with an
    algorithm) and that tries to connect. Whatever its name: a connection whose first bytes are Stratum, the language
    of pools. As a weaker sign: a process that keeps a connection to a port that pools use and computes without pause.

Why it matters
    It takes the compute of the task, and the traffic looks like a break-in to whoever sees it first. A grant to connect
    to an address is no grant to mine through it.

How it tells the benign twin apart
    A compile computes but holds no connection; training that downloads data talks to other ports in other words;
    JSON-RPC without pool methods is only JSON-RPC; `grep stratum`, `pip install xmr...` and `git clone .../xmrig` carry
    the words but do not mine; a user or an algorithm option alone is too little.

Blind spots
    A renamed miner that is configured by a file and speaks TLS to port 443 shows only its CPU time, which the compute
    budget bounds. Solo mining through a local node. A connection that was refused shows no Stratum.

References
    ATT&CK T1496.001 Resource Hijacking: Compute Hijacking; ATLAS AML.T0034.002 Agentic Resource Consumption;
    OWASP Agentic ASI10 Rogue Agents.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.detectors.context import Context
from remit.detectors.hints import Hint, Hints
from remit.detectors.mining_hints import read_mining_hint, speaks_stratum
from remit.events import Compute, Connect, Event, Exec, Exit, Flow, Fork, ProcessEvent
from remit.findings import Sighting, printable

TECHNIQUES = ("T1496.001", "AML.T0034.002", "ASI10")
DNS_PORT = 53
POOL_PORTS = frozenset({
    3032, 3333, 3334, 3357, 4444, 5555, 6666, 7777, 8008, 9000, 9999, 10001, 10032, 10128, 10191, 10300, 10343, 12020,
    13333, 13531, 14433, 14444, 20535, 20580, 25555, 33333, 45560, 45700,
})  # fmt: skip
WATCHED_SECONDS = 60.0
BUSY_SHARE = 0.8  # of one processor, over the whole time watched
MOST_HELD = 4096

SECOND = 1_000_000_000


class _Held:
    """A connection to a port that pools use, and the first CPU sample of its process after it."""

    def __init__(self, n: int, place: str) -> None:
        self.n = n
        self.place = place
        self.since = 0
        self.cpu = 0.0


class CryptoMining:
    behaviour = "crypto-mining"
    wants: frozenset[type] = frozenset({Fork, Exec, Exit, Connect, Flow, Compute})

    def __init__(self) -> None:
        self._hints = Hints(read_mining_hint)
        self._held: dict[str, _Held] = {}

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        if isinstance(event, Compute):
            yield from self._busy(event, context)
        if not isinstance(event, ProcessEvent):
            return
        refused = self._hints.feed(event)
        hint = self._hints.of(event.process)
        match event:
            case Exec() if refused:
                yield _hinted(event, refused, context, "attempted", f"{refused.text}; it was not allowed to run")
            case Exec(errno=0) | Exit():
                self._held.pop(event.process, None)
            case Connect(operation="connect", family="inet" | "inet6"):
                if hint and not (event.begun and event.port == DNS_PORT):
                    yield _by_hint(event, hint, context)
                self._hold(event, context)
            case Flow(operation="sample") if speaks_stratum(event.first_bytes):
                said = f"its connection to {event.address}:{event.port} speaks Stratum"
                events = (hint.n, event.n) if hint else (event.n,)
                yield _sighting(event, context, "succeeded", "critical", said, events)
            case Flow(refused=True, family="inet" | "inet6") if hint:
                yield _hinted(event, hint, context, "attempted", f"{hint.text}; its {event.operation} was refused")

    def _hold(self, event: Connect, context: Context) -> None:
        pool = event.port in POOL_PORTS and not context.own_service(event.address, event.port)
        if event.begun and pool and len(self._held) < MOST_HELD:
            self._held.setdefault(event.process, _Held(event.n, f"{event.address}:{event.port}"))

    def _busy(self, event: Compute, context: Context) -> Iterator[Sighting]:
        for process, cpu in event.busiest:
            held = self._held.get(process)
            if held is None:
                continue
            if not held.since:
                held.since, held.cpu = event.time, cpu
                continue
            seconds = (event.time - held.since) / SECOND
            if seconds >= WATCHED_SECONDS and cpu - held.cpu >= BUSY_SHARE * seconds:
                text = f"it keeps a connection to {held.place}, a port that pools use, and computes without pause"
                program = context.program(process)
                shown = printable(f"{program.rpartition('/')[2]}: {text}", 400)
                events = (held.n, event.n)
                yield Sighting(program, process, "succeeded", "low", TECHNIQUES, shown, None, events)
                del self._held[process]


def _by_hint(event: Connect, hint: Hint, context: Context) -> Sighting:
    place = f"{event.address}:{event.port}"
    if event.begun:
        return _hinted(event, hint, context, "succeeded", f"{hint.text}; it connected to {place}")
    outcome = "the connection was refused" if event.refused else "the connection failed"
    return _hinted(event, hint, context, "attempted", f"{hint.text}; {outcome}: {place}")


def _hinted(event: Connect | Flow | Exec, hint: Hint, context: Context, state: str, text: str) -> Sighting:
    severity = "critical" if state == "succeeded" else "high"
    return _sighting(event, context, state, severity, text, (hint.n, event.n))


def _sighting(
    event: Connect | Flow | Exec, context: Context, state: str, severity: str, text: str, events: tuple[int, ...]
) -> Sighting:
    program = context.program(event.process) or (event.image if isinstance(event, Exec) else "?")
    shown = printable(f"{context.name(event)}: {text}", 400)
    numbers = tuple(sorted(set(events)))
    return Sighting(program, event.process, state, severity, TECHNIQUES, shown, event.clause, numbers)
