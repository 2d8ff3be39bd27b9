"""The engine is a pure machine: records in, canonical bytes of findings and verdicts out; the same in, the same out.

It reads no clock, socket, environment or /proc, so that what was concluded live can be recomputed from the evidence.
A detector that raises becomes a finding, and the engine goes on with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from remit.attribution.origin import origin_of
from remit.attribution.steps import Attributor
from remit.attribution.words import attribution_of, origin_of_words
from remit.detectors import Context, Detector, build_detectors
from remit.engine.decode import decode
from remit.engine.judge import Judge
from remit.events import Event, ProcessEvent, Session, Turn
from remit.findings import Attribution, Origin, Sighting

NOWHERE = Attribution(None, "unknown", "no process caused this")
NOBODY = Origin("unknown", ("no process caused this",), "nothing")


class _Seat:
    """A detector in its place; `broken` once it raised, because its state cannot be trusted any more."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.broken = False


class Engine:
    """One session's conclusions. Feed it every record after the header, in order."""

    def __init__(
        self, header: Mapping[str, Any], *, detectors: Callable[[Session], Iterable[Detector]] = build_detectors
    ) -> None:
        session = decode(dict(header))
        if not isinstance(session, Session):
            raise ValueError("the first record of a session is not its header")
        self.session = session
        self.attributor = Attributor()
        self._context = Context(session, self.attributor.lineage, self.attributor.of)
        self._judge = Judge(session.respond)
        self._seats = [_Seat(detector) for detector in detectors(session)]

    @property
    def findings(self) -> int:
        """How many different findings there are so far."""
        return self._judge.count

    def feed(self, record: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Take one record in; return what follows from it, each as the canonical JSON of one object."""
        try:
            event = decode(dict(record))
            attribution = self.attributor.observe(event) if event else None
        except Exception as problem:
            n = record.get("n")
            number = n if isinstance(n, int) else 0
            return self._failed("decode", f"record cannot be understood: {_name(problem)}", number, NOWHERE, NOBODY)
        if event is None:
            return ()
        self._context.observe(event)
        out: list[bytes] = []
        for seat in self._seats:
            if not seat.broken and type(event) in seat.detector.wants:
                out += self._ask(seat, event, attribution)
        return tuple(out)

    def _ask(self, seat: _Seat, event: Event, attribution: Attribution | None) -> list[bytes]:
        behaviour = seat.detector.behaviour
        out: list[bytes] = []
        try:
            for sighting in seat.detector.feed(event, self._context):
                if isinstance(event, Turn):
                    charged, origin = attribution_of(self.attributor, event), origin_of_words(event)
                else:
                    charged = self.attributor.of(sighting.process)
                    origin = origin_of(self.attributor, sighting.process, charged)
                out += self._judge.conclude(behaviour, _keyed(sighting, charged), charged, origin)
        except Exception as problem:
            seat.broken = True
            origin = NOBODY
            if isinstance(event, ProcessEvent) and attribution:
                origin = origin_of(self.attributor, event.process, attribution)
            out += self._failed(
                behaviour, f"detector failed: {_name(problem)}", event.n, attribution or NOWHERE, origin
            )
        return out

    def _failed(
        self, behaviour: str, summary: str, n: int, attribution: Attribution, origin: Origin
    ) -> tuple[bytes, ...]:
        sighting = Sighting("failed", "", "unknown", "high", (), summary, None, (n,))
        return self._judge.conclude(behaviour, sighting, attribution, origin)


def _keyed(sighting: Sighting, attribution: Attribution) -> Sighting:
    """Sightings in different steps are different findings; what cannot be told apart is one."""
    step = attribution.step or next(iter(attribution.candidates), "")
    return Sighting(
        f"{step}\0{sighting.key}", sighting.process, sighting.state, sighting.severity, sighting.techniques,
        sighting.summary, sighting.clause, sighting.events,
    )  # fmt: skip


def _name(problem: Exception) -> str:
    # The class only: a message may carry what the agent wrote, or an address that differs between two runs.
    return type(problem).__name__
