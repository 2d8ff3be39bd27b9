"""What was claimed from inside, for the report: who said it, whether it filled a gap, and what was charged to it.

An agent can claim as much as it likes, so the list is cut, and says by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remit.attribution.steps import Attributor
from remit.claims import CLAIMED
from remit.events import Claim

LISTED_MAX = 10_000


@dataclass(slots=True)
class ClaimLine:
    """One claimed step, as far as it is known."""

    id: str
    tool: str
    arguments: Any
    source: str
    process: str | None
    program: str
    began: int | None
    ended: int | None = None
    late: bool = False  # told after it was over, with times of the claimant's own
    heeded: bool = False  # it may fill gaps; otherwise who claimed it is itself charged to a step, or not known
    event_count: int = 0


@dataclass(slots=True)
class ClaimList:
    """The claims of a session by the names that attribution gives them; a claim that is made again is the last one."""

    lines: dict[str, ClaimLine] = field(default_factory=dict)
    unlisted: int = 0

    def take(self, event: Claim, attributor: Attributor) -> None:
        name = "" if event.step is None else CLAIMED + event.step
        if event.mark == "end":
            if name in self.lines and self.lines[name].ended is None:
                self.lines[name].ended = event.time
                if self.lines[name].arguments is None:  # some know them only then
                    self.lines[name].arguments = event.arguments
            return
        if name not in self.lines and len(self.lines) >= LISTED_MAX:
            self.unlisted += 1
            return
        process = attributor.lineage.get(event.process or "")
        late, heeded = event.mark == "past", event.mark == "begin" and attributor.is_heeded(event)
        began, ended = (event.began, event.ended) if late else (event.time, None)
        self.lines[name] = ClaimLine(
            name, event.tool, event.arguments, event.source, event.process, process.image if process else "",
            began, ended, late, heeded,
        )  # fmt: skip

    def charge(self, names: tuple[str, ...]) -> None:
        """Count an event for each claimed step that it is charged to, or may be."""
        for name in names:
            if name.startswith(CLAIMED) and name in self.lines:
                self.lines[name].event_count += 1
