"""The allowance of questions: real work never spends it, a flood soon does."""

from __future__ import annotations

from remit.supervisor.rate import BURST, RATE, REFUSED_COST, Allowance


def asks(allowance: Allowance, each_second: float, seconds: float, cost: float = 1.0) -> float | None:
    """When somebody who asks this often is stopped, or None."""
    count = int(each_second * seconds)
    for number in range(count):
        now = number / each_second
        if not allowance.spend(cost, now):
            return now
    return None


def test_the_most_that_real_work_asks_is_never_too_much() -> None:
    assert asks(Allowance(0.0), 18_000, 100) is None


def test_some_refusals_are_never_too_much() -> None:
    assert asks(Allowance(0.0), RATE / REFUSED_COST - 1, 4000, REFUSED_COST) is None


def test_a_flood_of_refusals_is_stopped_within_seconds() -> None:
    stopped = asks(Allowance(0.0), 10_000, 10, REFUSED_COST)
    assert stopped is not None
    assert 2 < stopped < 4


def test_after_that_the_allowance_is_whole_again() -> None:
    allowance = Allowance(0.0, rate=1, burst=10)
    assert [allowance.spend(5, 0.0) for _ in range(6)] == [True, True, False, True, True, False]


def test_what_is_not_used_is_saved_up_only_so_far() -> None:
    allowance = Allowance(0.0)
    assert allowance.spend(BURST, 1e6)
    assert not allowance.spend(1, 1e6)
