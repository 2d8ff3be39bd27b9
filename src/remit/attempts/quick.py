"""The few attempts that are made at every start, in the boundary that was just put up, before any program of the agent.

They are made by a child of the zygote without running a program, and need no more of the outside than the session has
itself: the supervisor, the evidence and its control socket. They take some milliseconds, and change nothing where a
wall is open.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any

from remit.attempts import calls, neighbours, network, privileges, remit_itself
from remit.attempts.attempt import Attempt, Outcome, Outside, Result, Witness, judge, perform


def _connect_directly(outside: Outside) -> None:
    """Before the filter goes on, Landlock stands alone; whoever is meant to be reached need not be there."""
    with socket.socket() as end:
        end.setblocking(False)
        end.connect(("127.0.0.1", 9))


def _bind_directly(outside: Outside) -> None:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))


# Made by the zygote itself between Landlock's second layer and the filter.
BEFORE_FILTER = (
    Attempt(
        "connect-directly", "tcp", "connect without asking", "connect", _connect_directly, gaps=("network-unwalled",)
    ),
    Attempt("bind-directly", "tcp", "take a port without asking", "bind", _bind_directly, gaps=("network-unwalled",)),
)

_KNOWN: dict[str, Attempt] = {
    attempt.name: attempt
    for module in (network, remit_itself, neighbours, privileges, calls)
    for attempt in module.ATTEMPTS
}


def chosen(names: Iterable[str]) -> tuple[Attempt, ...]:
    """The attempts of both groups: those before the filter, and those of these names."""
    return (*BEFORE_FILTER, *map(_find, names))


def _find(name: str) -> Attempt:
    if name not in _KNOWN:
        from remit.attempts.catalogue import BY_NAME  # for tests, which choose from all of them

        return BY_NAME[name]
    return _KNOWN[name]


def try_before_filter() -> list[dict[str, Any]]:
    """The outcomes of the first group, in order, as a message can carry them."""
    return [_outcome(attempt, Outside()) for attempt in BEFORE_FILTER]


def try_inside(names: Iterable[str], outside: Outside, directory: str) -> list[dict[str, Any]]:
    """The outcomes of the second group. `directory` is private to the session: nothing is left in it."""
    os.chdir(directory)
    return [_outcome(_find(name), outside) for name in names]


def judge_all(
    attempts: Iterable[Attempt],
    outcomes: list[dict[str, Any]],
    records: list[dict[str, Any]],
    gaps: Iterable[str],
    *,
    strict: bool = False,
    view: bool = False,
) -> list[Result]:
    """The results in order. Each record is a witness once, so that no attempt passes by another's."""
    left, known = list(records), set(gaps)
    results = []
    for attempt, said in zip(attempts, outcomes, strict=True):
        outcome = Outcome(**said)
        mine = _take(attempt.witness, left) if outcome.error in attempt.refusals else []
        results.append(judge(attempt, outcome, records=mine, gaps=known, strict=strict, view=view))
    return results


def _take(witness: Witness | None, left: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take the records that this witness asks for out of those that are left, at most as many as it asks for."""
    if witness is None:
        return []
    mine = [record for record in left if witness.seen([record])][: witness.times]
    for record in mine:
        left.remove(record)
    return mine


def _outcome(attempt: Attempt, outside: Outside) -> dict[str, Any]:
    return perform(attempt, outside)._asdict()
