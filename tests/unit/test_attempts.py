"""Only a wall's own answer counts as held: not just any error, not an error where something changed outside."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from remit.attempts.attempt import (
    HELD,
    OPEN,
    SKIPPED,
    Attempt,
    GotThrough,
    Outcome,
    Outside,
    Skip,
    Witness,
    each,
    judge,
    perform,
)
from remit.attempts.catalogue import ATTEMPTS, BY_NAME
from remit.attempts.quick import chosen, judge_all
from remit.scope.gaps import GAPS


def refuse(error: int) -> Any:
    def act(outside: Outside) -> None:
        raise OSError(error, "refused")

    return act


def attempt(**members: Any) -> Attempt:
    return Attempt(**{"name": "a", "wall": "files", "tries": "", "how": "", "act": refuse(errno.EPERM), **members})


REFUSED = {"kind": "privilege", "operation": "bpf", "refused": True}


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ENOENT, errno.EFAULT, errno.EINVAL, errno.ENOSYS])
def test_an_error_that_no_wall_gives_means_that_something_was_reached(error: int) -> None:
    result = judge(attempt(), perform(attempt(act=refuse(error)), Outside()))
    assert result.result == OPEN
    assert errno.errorcode[error] in result.reason


@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_an_error_that_a_wall_gives_is_held(error: int) -> None:
    assert judge(attempt(), perform(attempt(act=refuse(error)), Outside())).result == HELD


def test_what_returns_got_through() -> None:
    assert judge(attempt(), perform(attempt(act=lambda outside: None), Outside())).result == OPEN


def test_a_change_outside_is_open_whatever_was_answered() -> None:
    result = judge(attempt(), Outcome(error=errno.EPERM), effects=["a listener was reached"])
    assert (result.result, result.reason) == (OPEN, "a listener was reached")
    assert judge(attempt(), Outcome(skipped="no device"), effects=["a file was changed"]).result == OPEN


def test_a_refusal_that_must_be_recorded_and_is_not_came_from_the_kernel() -> None:
    wanted = attempt(witness=Witness("privilege", "bpf", 2))
    assert judge(wanted, Outcome(error=errno.EPERM), records=[REFUSED, REFUSED]).result == HELD
    for other in ([], [{**REFUSED, "refused": False}], [{**REFUSED, "kind": "signal"}]):
        assert judge(wanted, Outcome(error=errno.EPERM), records=[REFUSED, *other], strict=True).result == OPEN
        found = judge(wanted, Outcome(error=errno.EPERM), records=[REFUSED, *other])
        assert (found.result, found.reason) == (HELD, "EPERM, 1 not by remit's own wall")
    # Nobody else stands before what the supervisor decides.
    deputy = attempt(witness=Witness("connect"))
    assert judge(deputy, Outcome(error=errno.EACCES), records=[]).result == OPEN
    # Where nobody records, the error alone must do.
    assert judge(wanted, Outcome(error=errno.EPERM)).result == HELD


def test_death_is_an_answer_only_by_the_signal_that_the_wall_gives() -> None:
    killed = attempt(killed_by=int(signal.SIGSYS))
    assert judge(killed, Outcome(signal=int(signal.SIGSYS))).result == HELD
    assert judge(killed, Outcome(signal=int(signal.SIGSEGV))).result == OPEN
    assert judge(killed, Outcome(error=errno.EPERM)).result == OPEN
    assert judge(attempt(), Outcome(signal=int(signal.SIGSYS))).result == OPEN


def test_what_is_open_has_the_name_of_a_gap_only_when_the_session_has_it() -> None:
    covered = attempt(gaps=("files-unwalled", "refer-unwalled"))
    assert judge(covered, Outcome(), gaps=["refer-unwalled"]).gap == "refer-unwalled"
    assert judge(covered, Outcome(), gaps=["metadata-unwalled"]).gap == ""


def test_what_cannot_be_tried_is_skipped_with_its_reason() -> None:
    def act(outside: Outside) -> None:
        raise Skip("no such device")

    result = judge(attempt(), perform(attempt(act=act), Outside()))
    assert (result.result, result.reason) == (SKIPPED, "no such device")


def test_one_way_through_is_a_way_through() -> None:
    closed, unlike = lambda: refuse(errno.EPERM)(Outside()), lambda: refuse(errno.ENOENT)(Outside())
    with pytest.raises(PermissionError):
        each([("one", closed), ("two", closed)])
    with pytest.raises(GotThrough, match="two"):
        each([("one", closed), ("two", lambda: None)])
    with pytest.raises(GotThrough, match="two"):
        each([("one", closed), ("two", unlike)])
    with pytest.raises(Skip):
        each([])


def test_a_record_is_a_witness_once() -> None:
    names = ("udp", "mptcp")
    record = {"kind": "flow", "operation": "socket", "refused": True}
    said = [Outcome(error=errno.EACCES)._asdict() for _ in chosen(names)]
    assert [r.result for r in judge_all(chosen(names), said, [record, record], (), strict=True)][-2:] == [HELD, HELD]
    assert [r.result for r in judge_all(chosen(names), said, [record], (), strict=True)][-2:] == [HELD, OPEN]


def test_every_attempt_has_a_name_of_its_own_and_gaps_that_exist() -> None:
    assert len(BY_NAME) == len(ATTEMPTS) >= 60
    assert {gap for a in ATTEMPTS for gap in a.gaps} <= set(GAPS)
    assert all(a.wall and a.tries and a.how for a in ATTEMPTS)


def test_what_is_said_of_the_outside_is_known() -> None:
    with pytest.raises(ValueError, match="evidenze"):
        Outside(evidenze="/")
