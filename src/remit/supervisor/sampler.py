"""What is looked at once a second: CPU and memory of the tree, connections, masks, and whether a budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from remit.plain import Data
from remit.plan import Plan
from remit.supervisor.budgets import NEAR_SECONDS, SAMPLE_SECONDS, exceeded, take_sample
from remit.supervisor.flows import Connections
from remit.supervisor.mask_watch import MaskWatch
from remit.supervisor.processes import ProcessTable

if TYPE_CHECKING:
    from remit.boundary.cgroups import SessionCgroups


class Reason(Data):
    """Why the session must end: by whom, and what ended it."""

    by: str
    ended_by: str


class Sampler:
    """Records a sample of one session whenever it is due. `present` tells every process that is there."""

    def __init__(
        self,
        plan: Plan,
        processes: ProcessTable,
        connections: Connections,
        masks: MaskWatch,
        record: Callable[..., Any],
        present: Callable[[], set[int]],
        cgroups: SessionCgroups | None = None,
    ) -> None:
        self._limits = plan.limits
        self._processes = processes
        self._connections = connections
        self._masks = masks
        self._record = record
        self._present = present
        self._observe = plan.observe
        self._cgroups = cgroups
        self._told: set[str] = set()  # budgets that are spent, while observing
        self._tasks_refused = 0
        self._began = time.monotonic()
        self._due = self._began + SAMPLE_SECONDS

    def wait(self) -> float:
        """Seconds until the next sample is due; 0 when it is."""
        return max(0.0, self._due - time.monotonic())

    def take(self) -> Reason | None:
        """Record a sample; the reason to end the session, if there is one."""
        sample = take_sample(self._processes, self._cgroups)
        near = self._limits.memory is not None and sample.memory > self._limits.memory // 2
        self._due = time.monotonic() + (NEAR_SECONDS if near else SAMPLE_SECONDS)
        self._record(
            "compute",
            processes=sample.processes,
            cpu=sample.cpu,
            memory=sample.memory,
            busiest=[{"process": identity, "cpu": cpu} for identity, cpu in sample.busiest],
        )
        for flow in self._connections.sample(self._processes):
            self._record("flow", **flow)
        if self._processes.is_unsettled(self._limits.processes):
            self._processes.reconcile(self._present())
        self._tell_refused_tasks(first=True)
        bare = self._masks.check()
        if bare is not None:
            return Reason("supervisor", f"a mask came off: {bare}")
        clause = exceeded(sample, self._limits, self._began, self._cgroups)
        if clause is None:
            return None
        if not self._observe:
            return Reason("budget", clause)
        if clause not in self._told:
            self._told.add(clause)
            spent = {"processes": sample.processes, "clause": clause}
            self._record("response", finding=None, verdict="record", by="budget", **spent)
        return None

    def _tell_refused_tasks(self, *, first: bool) -> None:
        """Record how many processes and threads the kernel has not made, for the scope's limit: so far, and at last."""
        refused = 0 if self._cgroups is None else self._cgroups.tasks_refused()
        if refused > self._tasks_refused and first == (self._tasks_refused == 0):
            self._tasks_refused = refused
            why = {"processes": len(self._processes), "clause": "processes.at-most", "tasks_refused": refused}
            self._record("response", finding=None, verdict="record", by="budget", **why)

    def ran_out_of_memory(self, ended_by: str) -> bool:
        """The last look: whether the kernel has ended somebody by the scope's limit, since the last sample, and
        thereby the session: it may have been the command, or the zygote."""
        self._tell_refused_tasks(first=self._tasks_refused == 0)
        if self._cgroups is None or ended_by not in ("command", "harness", "the zygote died"):
            return False
        return self._cgroups.ran_out_of_memory()
