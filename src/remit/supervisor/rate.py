"""Nobody floods the supervisor: each program has an allowance of questions, and one that is spent freezes the session.

A token bucket. What the supervisor starts (the command, or one program of a step) gets one, and shares it with all that
it forks: an allowance for each process would be a fresh one for each fork. The figures are far above real work, which
asks up to 18 000 times a second for moments and is almost never refused, and far below what a flood of refusals makes.
"""

from __future__ import annotations

RATE = 20_000.0  # tokens that come back each second
BURST = 1_000_000.0
REFUSED_COST = 40.0  # a refused question: 500 a second for ever, or 25 000 at once
CLAUSE = f"questions: {RATE:.0f} a second, a refused one counts {REFUSED_COST:.0f}, {BURST:.0f} saved up"


class Allowance:
    """The tokens of one program and its descendants. Times are monotonic seconds, never before the last one."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, now: float, *, rate: float = RATE, burst: float = BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def spend(self, cost: float, now: float) -> bool:
        """Pay for one question; False when that was more than is left, and then the allowance is whole again.

        Whoever froze the session for it decides whether it goes on, and then it goes on with a new allowance.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - cost
        self._at = now
        if self._tokens >= 0:
            return True
        self._tokens = self._burst
        return False
