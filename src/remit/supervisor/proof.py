"""The quick attempts of a session's start: their questions are answered as ever and charged to nobody.

The process that makes them is remit's own, so what it is refused is no denial of the agent's; it stands in evidence as
the results of one record, `attempts`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from remit.attempts import quick
from remit.attempts.attempt import OPEN, Attempt, Outside, Result
from remit.plan import Plan

_CANDIDATES = (9, 1, 7, 13, 17, 19, 37)  # where nobody listens, on nearly every machine


class Proof:
    """What the process that makes attempts was refused, and what it said in the end."""

    def __init__(self, plan: Plan, names: Iterable[str]) -> None:
        self._plan = plan
        self.names = list(names)
        self.attempts = quick.chosen(self.names)
        self._refused: list[dict[str, Any]] = []
        self._process = ""
        self.outcomes: list[dict[str, Any]] | None = None
        # An outsider for them to reach: an abstract socket of the supervisor's, under a name that the kernel chooses.
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind("")
        self._listener.listen(8)

    def outside(self, evidence: Path, deputy: int, zygote: int) -> Outside:
        """What they are to reach."""
        return Outside(
            evidence=os.path.realpath(evidence),
            tcp4=_closed_port(self._plan),
            udp=_CANDIDATES[0],
            abstract=self._listener.getsockname()[1:].decode(),
            supervisor=os.getpid(),
            deputy=deputy,
            zygote=zygote,
        )

    def begin(self, process: str) -> None:
        """Attempts are made by this process from now on."""
        self._process = process

    def takes(self, kind: str, members: dict[str, Any]) -> bool:
        """Whether a record is of an attempt, and so none of the agent's."""
        if not self._process or members.get("process") != self._process:
            return False
        self._refused.append({"kind": kind, **members})
        return True

    def finish(self, before: list[dict[str, Any]], gaps: Iterable[str]) -> list[Result]:
        """The results, once the outcomes are there."""
        assert self.outcomes is not None
        self._listener.close()
        return quick.judge_all(self.attempts, [*before, *self.outcomes], self._refused, gaps)


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
    return next((port for port in _CANDIDATES if not any(g.first_port <= port <= g.last_port for g in plan.connect)), 0)
