"""The doctor's words for a person: what the machine has, and every attempt beneath the wall it was made on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from remit.attempts.attempt import HELD, OPEN, Attempt, Result
from remit.doctor.machine import Ability


def machine_lines(abilities: Sequence[Ability]) -> Iterator[str]:
    """What there is, and for what is not: what that costs and how to get it."""
    yield "WHAT THIS MACHINE HAS"
    widest = max(len(ability.name) for ability in abilities)
    for ability in abilities:
        yield f"  {'yes' if ability.present else 'no ':<3}  {ability.name:<{widest}}  {ability.detail}"
        if not ability.present:
            yield f"       {'':<{widest}}  without it: {ability.costs}"
            yield f"       {'':<{widest}}  hint: {ability.hint}"


def attempt_lines(attempts: Sequence[Attempt], results: Sequence[Result]) -> Iterator[str]:
    """The table, a wall at a time, in the order in which the walls first come up."""
    pairs = list(zip(attempts, results, strict=True))
    yield "WHAT WAS TRIED FROM INSIDE"
    for wall in dict.fromkeys(attempt.wall for attempt in attempts):
        mine = [(attempt, result) for attempt, result in pairs if attempt.wall == wall]
        held = sum(result.result == HELD for _, result in mine)
        yield f"  {wall}: {held} of {len(mine)} held"
        for attempt, result in mine:
            yield f"    {word(result):<8}  {attempt.name:<26}  {attempt.tries}: {attempt.how}{_why(result)}"


def summary_line(results: Sequence[Result]) -> str:
    counts = {name: sum(result.result == name for result in results) for name in ("held", "open", "skipped")}
    covered = sum(result.result == OPEN and bool(result.gap) for result in results)
    gaps = f" ({covered} of them by a named gap)" if covered else ""
    return f"{len(results)} attempts: {counts['held']} held, {counts['open']} open{gaps}, {counts['skipped']} skipped"


def word(result: Result) -> str:
    return result.result.upper() if result.result == OPEN else result.result


def _why(result: Result) -> str:
    if result.result == HELD:
        return f" ({result.reason})"
    gap = f", gap {result.gap}" if result.gap else ""
    return f"\n              {result.reason}{gap}"
