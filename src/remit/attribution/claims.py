"""What was claimed from inside: it fills gaps, as likely, and never moves or hides what was seen from outside.

A claimed step is named `claim:ID`, so that it never passes for a step of that id. A process keeps the claims that were
in force at its birth, beside the charge that it got from outside; they are looked at only where that says nothing.
Claims of a process that is itself charged to a step from outside fill nothing: it would speak for others.
"""

from __future__ import annotations

from remit.attribution.lineage import Charge
from remit.claims import CLAIMED
from remit.events import Claim
from remit.plain import Data

IN_FORCE_MAX = 64  # the oldest makes room: whoever is inside can begin as many as it likes
_REASON = "claimed from inside; nothing outside saw a step"


class Claimed(Data):
    """A claimed step that is in force."""

    id: str
    group: str | None
    within: str | None


class Claims:
    """The claims in force, oldest first."""

    def __init__(self) -> None:
        self._in_force: dict[str, Claimed] = {}

    @property
    def in_force(self) -> tuple[str, ...]:
        """Those that nothing within them is in force of."""
        around = {claimed.within for claimed in self._in_force.values()}
        return tuple(name for name in self._in_force if name not in around)

    def observe(self, event: Claim, *, heeded: bool) -> None:
        """Take a claim in. One that is not `heeded` changes nothing, and what happened in the past fills no gap now."""
        if not heeded:
            return
        if event.mark == "begin" and event.step is not None:
            name = CLAIMED + event.step
            within = None if event.within is None else CLAIMED + event.within
            self._in_force.pop(name, None)
            self._in_force[name] = Claimed(name, event.group, within)
            if len(self._in_force) > IN_FORCE_MAX:
                del self._in_force[next(iter(self._in_force))]
        elif event.mark == "end" and event.step is not None:
            self._in_force.pop(CLAIMED + event.step, None)
        elif event.mark == "end":
            ended = [name for name, claimed in self._in_force.items() if claimed.group == event.group]
            for name in ended:
                del self._in_force[name]

    def fill(self, born: tuple[str, ...]) -> Charge | None:
        """What a process is charged to that nothing outside charges to anything: the claims at its birth, else now."""
        found = born or self.in_force
        return Charge("likely", None, found, _REASON) if found else None
