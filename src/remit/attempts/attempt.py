"""An attempt is one forbidden act; its result is `held`, `open` or `skipped`, and only a refusal by a wall is `held`.

An act that ends in just any error has not been refused: what answers "connection refused" has been reached. So each
attempt knows the errors that its wall gives, and, where the supervisor stands in the way, the record it must leave.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from remit.plain import Data

HELD, OPEN, SKIPPED = "held", "open", "skipped"
REFUSALS = (errno.EACCES, errno.EPERM)

Act = Callable[["Outside"], object]


class Outside:
    """What stands outside the boundary for attempts to reach; an empty value means that there is none here.

    A plain class, for it is made at every start, and named tuples of this many members are slow to define.
    """

    evidence: str = ""
    directory: str = ""  # holds `file`, `empty/`, `true`, `stream.sock`, `datagram.sock`; no grant covers it
    plans: str = ""
    tcp4: int = 0
    tcp6: int = 0
    udp: int = 0
    free_port: int = 0  # nobody listens there
    abstract: str = ""  # the name of a listening abstract socket
    neighbour: int = 0  # a process of the same user that has nothing to do with the session
    supervisor: int = 0
    zygote: int = 0
    deputy: int = 0
    launcher: int = 0
    engine: int = 0
    notary: int = 0
    shared_memory: int = -1  # System V identifiers
    messages: int = -1
    semaphores: int = -1
    device: str = ""  # a device node that no grant covers
    readable_device: str = ""  # one that may be read, and no more
    readable_program: str = ""  # one that may be read, and no more
    set_user_id: str = ""  # a program of root's
    terminal: str = ""  # of another session of this user
    typist: int = 0  # the process in front of that terminal, in which somebody types
    memory_file: str = ""  # in /dev/shm
    secret: str = ""  # within a granted tree, and taken back by files.secrets
    protected: str = ""  # within a writable tree, and taken back by files.protect
    variable: str = ""  # set in the caller's environment, to the secret that `file` holds, and passed on by no grant
    at_most: int = 0  # processes.at-most of the scope

    def __init__(self, **members: Any) -> None:
        unknown = members.keys() - self.__annotations__.keys()
        if unknown:
            raise ValueError(f"nothing outside is called so: {', '.join(sorted(unknown))}")
        self.__dict__.update(members)

    def members(self) -> dict[str, Any]:
        """What is not empty, as a message can carry it."""
        return dict(self.__dict__)

    def but(self, **members: Any) -> Outside:
        """The same with some members changed."""
        return Outside(**{**self.__dict__, **members})


class Witness(Data):
    """The record of a refusal that the supervisor must have made, and how many of them."""

    kind: str
    operation: str = ""
    times: int = 1

    def seen(self, records: Iterable[dict[str, Any]]) -> int:
        """How many of the records are what this asks for."""
        return sum(
            record["kind"] == self.kind
            and bool(record.get("refused"))
            and (not self.operation or record.get("operation") == self.operation)
            for record in records
        )

    def others_may_refuse(self) -> bool:
        """Whether somebody may stand before the supervisor: the filter of a container, or the kernel itself."""
        return self.kind in ("privilege", "signal") or (self.kind, self.operation) == ("flow", "socket")


class Attempt(Data):
    """One forbidden act. `act` returns when it got through and raises OSError when it was refused."""

    name: str
    wall: str
    tries: str  # what it tries, for a person
    how: str  # by which calls
    act: Act
    witness: Witness | None = None
    refusals: tuple[int, ...] = REFUSALS
    killed_by: int = 0  # the signal that this wall answers with
    gaps: tuple[str, ...] = ()  # those that say so when it is open


class Outcome(Data):
    """How an act ended, as whoever ran it saw it."""

    error: int = 0  # 0: it got through
    signal: int = 0  # it was killed
    detail: str = ""
    skipped: str = ""


class Result(Data):
    """What an attempt came to. `gap` names the gap that covers an open one."""

    name: str
    result: str
    reason: str = ""
    gap: str = ""


class Skip(Exception):
    """The attempt cannot be made here; says why."""


class GotThrough(Exception):
    """One of several ways got through; says which."""


_BY_PATH = ("files", "metadata", "unix-sockets")


def perform(attempt: Attempt, outside: Outside) -> Outcome:
    """Do the act in this process."""
    try:
        attempt.act(outside)
    except Skip as reason:
        return Outcome(skipped=str(reason))
    except GotThrough as way:
        return Outcome(detail=str(way))
    except OSError as problem:
        return Outcome(error=problem.errno or errno.EIO, detail=problem.strerror or "")
    return Outcome()


def judge(
    attempt: Attempt,
    outcome: Outcome,
    *,
    records: list[dict[str, Any]] | None = None,
    effects: Iterable[str] = (),
    gaps: Iterable[str] = (),
    strict: bool = False,
    view: bool = False,
) -> Result:
    """The result of an attempt. `records`: what the supervisor recorded meanwhile, None where there is none to ask;
    `effects`: what changed outside; `gaps`: the gaps that this session has.

    A dangerous call may be refused without a record, by a container's own filter or by the kernel for want of a
    capability. That is held, and said; `strict` counts only what remit itself refused. `view`: the session has a file
    system of its own, where what is tried by a path that is there outside is not there at all.
    """
    if view and outcome.error == errno.ENOENT and attempt.wall in _BY_PATH and not tuple(effects):
        return Result(attempt.name, HELD, "ENOENT: it is not in the session's view")
    reason = _way_through(attempt, outcome, tuple(effects))
    missing = 0 if records is None or reason or outcome.skipped else _unrecorded(attempt, records)
    if missing and (strict or not attempt.witness or not attempt.witness.others_may_refuse()):
        reason = f"no record of {missing} refusal(s): the kernel was reached"
    if reason:
        present = set(gaps)
        return Result(attempt.name, OPEN, reason, next((gap for gap in attempt.gaps if gap in present), ""))
    if outcome.skipped:
        return Result(attempt.name, SKIPPED, outcome.skipped)
    others = f", {missing} not by remit's own wall" if missing else ""
    return Result(attempt.name, HELD, _refusal(outcome) + others)


def _way_through(attempt: Attempt, outcome: Outcome, effects: tuple[str, ...]) -> str:
    if effects:
        return ", ".join(effects)
    if outcome.skipped:
        return ""
    if outcome.signal:
        named = signal.Signals(outcome.signal).name
        return "" if outcome.signal == attempt.killed_by else f"it died of {named}, which is no wall's answer"
    if outcome.error == 0:
        return outcome.detail or "it got through"
    if attempt.killed_by or outcome.error not in attempt.refusals:
        return f"no wall answers {errno.errorcode.get(outcome.error, outcome.error)}: {outcome.detail}"
    return ""


def _unrecorded(attempt: Attempt, records: list[dict[str, Any]]) -> int:
    """How many refusals that must have been recorded were not."""
    if attempt.witness is None:
        return 0
    return max(0, attempt.witness.times - attempt.witness.seen(records))


def _refusal(outcome: Outcome) -> str:
    if outcome.signal:
        return signal.Signals(outcome.signal).name
    return errno.errorcode.get(outcome.error, str(outcome.error))


def each(ways: Iterable[tuple[str, Callable[[], object]]], refusals: tuple[int, ...] = REFUSALS) -> None:
    """Several ways to one thing: raises the last refusal when all are refused, GotThrough when one is not."""
    last: OSError | None = None
    for name, way in ways:
        try:
            way()
        except OSError as problem:
            if problem.errno not in refusals:
                raise GotThrough(f"{name}: no wall answers {os.strerror(problem.errno or 0)}") from None
            last = problem
        else:
            raise GotThrough(f"{name}: it got through")
    if last is None:
        raise Skip("there is no way to try")
    raise last
