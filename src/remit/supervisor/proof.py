"""The quick attempts of a session's start: their questions are answered as ever and charged to nobody.

The process that makes them is remit's own, so what it is refused is no denial of the agent's; it stands in evidence as
the results of one record, `attempts`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from typing import Any

from remit.attempts.attempt import OPEN, Attempt, Outside, Result
from remit.boundary.launch import Boundary
from remit.errors import BoundaryError
from remit.plan import Plan, widest
from remit.protocol import Message
from remit.supervisor.processes import ProcessTable

_SECONDS = 10.0  # they take milliseconds, unless something hangs
_CANDIDATES = (9, 1, 7, 13, 17, 19, 37)  # where nobody listens, on nearly every machine


class Proof:
    """Attempts under way: what the process that makes them was refused, and what it said in the end."""

    def __init__(
        self,
        plan: Plan,
        processes: ProcessTable,
        names: Iterable[str],
        *,
        outsiders: Outside | None = None,  # for whoever has more to reach than a session has itself
        strict: bool = False,  # see `judge`
    ) -> None:
        self._plan = plan
        self._processes = processes
        self._names = list(names)
        self._outsiders = outsiders
        self._strict = strict
        self.attempts: tuple[Attempt, ...] = ()
        self._refused: list[dict[str, Any]] = []
        self._process = ""
        self._outcomes: list[dict[str, Any]] | None = None
        self._until = time.monotonic() + _SECONDS
        # An outsider for them to reach: an abstract socket of the supervisor's, under a name that the kernel chooses.
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("")
        self._listener.listen(8)

    def request(self, evidence: str, boundary: Boundary) -> Message:
        """What the zygote is asked."""
        outside = self._outsiders or Outside(
            tcp4=_closed_port(self._plan),
            udp=_CANDIDATES[0],
            abstract=self._listener.getsockname()[1:].decode(),
        )
        outside = outside.but(
            evidence=os.path.realpath(evidence),
            supervisor=os.getpid(),
            deputy=boundary.deputy,
            zygote=boundary.zygote,
        )
        return {"attempts": self._names, "outside": outside.members()}

    def load(self) -> None:
        """Load what judges the attempts, while the process that makes them is being made."""
        from remit.attempts import quick

        self.attempts = quick.chosen(self._names)

    def heard(self, message: Message) -> bool:
        """Take in what the zygote says of the attempts; False when it says something else."""
        if "attempting" in message:
            self._process = self._processes.set_prover(int(message["attempting"]))
        elif "attempted" in message:
            self._outcomes = message["attempted"]
        return "attempting" in message or "attempted" in message

    def takes(self, kind: str, members: dict[str, Any]) -> bool:
        """Whether a record is of an attempt, and so none of the agent's."""
        if not self._process or members.get("process") != self._process:
            return False
        self._refused.append({"kind": kind, **members})
        return True

    def over(self) -> bool:
        """Whether the outcomes are there, or will not come any more."""
        return self._outcomes is not None or time.monotonic() > self._until

    def results(self, boundary: Boundary) -> list[Result]:
        """Raises BoundaryError when there are none."""
        self._listener.close()
        if not self._outcomes:
            raise BoundaryError("the attempts on the walls did not come to an end")
        gaps = [gap.name for gap in self._plan.gaps]
        from remit.attempts import quick  # loaded long ago

        outcomes, view = [*boundary.attempts, *self._outcomes], self._plan.view
        return quick.judge_all(self.attempts, outcomes, self._refused, gaps, strict=self._strict, view=view)


def describe(attempts: Iterable[Attempt], results: Iterable[Result]) -> list[dict[str, Any]]:
    """The results as the record carries them."""
    return [
        {"name": attempt.name, "wall": attempt.wall, "result": r.result, "reason": r.reason, "gap": r.gap or None}
        for attempt, r in zip(attempts, results, strict=True)
    ]


def failures(results: list[Result]) -> list[str]:
    """Attempts that got through although no gap says so."""
    return [f"{r.name}: {r.reason}" for r in results if r.result == OPEN and not r.gap]


def _closed_port(plan: Plan) -> int:
    """A port that no grant names, or 0."""
    return next(
        (port for port in _CANDIDATES if not any(g.first_port <= port <= g.last_port for g in widest(plan).connect)), 0
    )
