"""Tree-wide budgets, looked at once a second. With a cgroup the kernel holds the memory and counts the CPU time of all
that ever ran; else both are summed over the lineage, so their strength is `polled`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from remit.kernel import proc
from remit.plain import Data
from remit.plan import Limits
from remit.supervisor.processes import ProcessTable

if TYPE_CHECKING:
    from remit.boundary.cgroups import SessionCgroups

SAMPLE_SECONDS = 1.0
NEAR_SECONDS = 0.1  # when more than half of the memory is used: the rest may be gone within a second
_BUSIEST = 8


class Sample(Data):
    """What the tree uses now: live processes, CPU seconds so far, resident bytes, and the busiest processes."""

    processes: int
    cpu: float
    memory: int
    busiest: tuple[tuple[str, float], ...]


def take_sample(processes: ProcessTable, cgroups: SessionCgroups | None = None) -> Sample:
    """Read /proc once for each live process; also keeps each one's CPU time for when it ends."""
    processes.meet_silent()
    cpu, memory = processes.ended_cpu, 0
    for process in processes:
        try:
            stat = proc.read_stat(process.pid)
        except ProcessLookupError:
            continue
        process.cpu = stat.cpu
        cpu += stat.cpu
        memory += stat.memory
    if cgroups is not None and (counted := cgroups.cpu_seconds()) is not None:
        cpu = counted
    busiest = sorted(((p.identity, round(p.cpu, 2)) for p in processes), key=lambda pair: -pair[1])[:_BUSIEST]
    return Sample(len(processes), round(cpu, 2), memory, tuple(busiest))


def exceeded(sample: Sample, limits: Limits, began: float, cgroups: SessionCgroups | None = None) -> str | None:
    """The clause of the first budget that is spent, or None. `began` is the monotonic time of the start."""
    if limits.wall is not None and time.monotonic() - began > limits.wall:
        return "compute.wall"
    if limits.cpu is not None and sample.cpu > limits.cpu:
        return "compute.cpu"
    if cgroups is not None and cgroups.limits_memory:
        # Not by the sample: memory that processes share is summed up there once for each of them.
        return "compute.memory" if cgroups.ran_out_of_memory() else None
    if limits.memory is not None and sample.memory > limits.memory:
        return "compute.memory"
    return None
