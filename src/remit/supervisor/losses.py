"""What a full disk costs: counted by class while it lasts, and recorded, with its steps, once there is space.

What is recorded of a step in which events were lost is not all that happened, so a report calls it unknown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from remit.evidence.writer import EvidenceWriter

if TYPE_CHECKING:
    from remit.supervisor.claims import ClaimsSocket


class Losses:
    """Stands before the writer. `open_steps` names the steps in force."""

    def __init__(self, writer: EvidenceWriter, open_steps: Callable[[], Iterable[str]]) -> None:
        self._writer = writer
        self._open_steps = open_steps
        self._steps: dict[str, None] = {}
        self._since = 0
        self.claims: ClaimsSocket | None = None  # which drops what is too much

    def append(self, kind: str, members: dict[str, Any]) -> int:
        """Append a record, or take note that it was lost."""
        number = self._writer.append(kind, members)
        if number == 0:
            self._since = self._since or time.time_ns()
            self._steps.update(dict.fromkeys(self._open_steps()))
        return number

    def settle(self, *, last: bool = False) -> None:
        """Record what was lost up to now, if anything was."""
        if self.claims is not None:
            self.claims.settle(now=last)
        if not self._writer.lost:
            return
        common = {"reason": "no space for evidence", "since": self._since, "steps": list(self._steps)}
        for kind, count in sorted(self._writer.take_lost().items()):
            self._writer.append("loss", {"class": kind, "count": count, **common})
        self._steps.clear()
        self._since = 0
