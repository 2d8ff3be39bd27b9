"""Freezing and killing a whole tree so that nothing survives, not even a fork bomb.

Where the session has a cgroup, the kernel freezes and kills it as one, the zygote included, and whoever is born
meanwhile is born frozen; the walk then only looks whether everybody stands still. Else: walking and killing alone loses
the race against processes that fork. So first nobody gets an answer any more, which stops every fork at its question;
then all are stopped, and walked again until the walk finds nobody new; only then are they killed. A process that waits
in an unanswered question counts as frozen.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from remit.kernel import pidfd, proc

if TYPE_CHECKING:
    from remit.boundary.cgroups import SessionCgroups

_KILL_SECONDS = 5.0
_SETTLE_SECONDS = 10.0  # on a busy machine it takes a while until every process has been on a CPU to stop
_REAP_SECONDS = 0.5
# D: waiting, killable, for an answer that will not come.
_STOPPED = ("T", "t", "D", "Z", "X")
_ASLEEP = ("S", "I")


class Responder:
    """Acts on every descendant of the supervisor except `spare` (the zygote and the deputy)."""

    def __init__(
        self, spare: set[int], reap: Callable[[], None], child_signal: int, cgroups: SessionCgroups | None = None
    ) -> None:
        self._spare = spare
        self._reap = reap
        self._child_signal = child_signal
        self._cgroups = cgroups
        self._stopped: set[int] = set()

    def descendants(self) -> set[int]:
        """Every process of the agent's tree, met or not; zombies too, until they are reaped."""
        parents = proc.parents()
        below: dict[int, bool] = {os.getpid(): True}

        def is_below(pid: int) -> bool:
            chain = []
            while pid not in below:
                chain.append(pid)
                pid = parents.get(pid, 0)
                if pid == 0:
                    below[0] = False
            for link in chain:
                below[link] = below[pid]
            return below[pid]

        return {pid for pid in parents if is_below(pid)} - self._spare - {os.getpid()}

    def freeze(self) -> int:
        """Stop every process; the caller has already ceased to answer. Returns how many were reached."""
        reached: set[int] = set()
        deadline = time.monotonic() + _SETTLE_SECONDS
        cgroups = self._cgroups if self._cgroups is not None and self._cgroups.freeze() else None
        while True:
            present = self.descendants()
            held = cgroups.members() if cgroups is not None else set()
            for pid in present - reached - held:
                _signal(pid, signal.SIGSTOP)
            new = present - reached
            reached |= present
            # A fork that was answered before the freeze may still produce its child: walk until nothing is new and
            # nobody runs, or until the only ones not stopped wait for an answer that will not come.
            if not new and (self._settled(present, held) or time.monotonic() > deadline):
                self._stopped = present - held
                return len(reached)
            self.wait(0.005)

    def resume(self) -> int:
        """Let every process that was stopped go on; the caller answers again."""
        present = self.descendants()
        count = 0
        if self._cgroups is not None:
            count = len(self._cgroups.members() & present - self._stopped)
            self._cgroups.thaw()
        count += sum(_signal(pid, signal.SIGCONT) for pid in present & self._stopped)
        self._stopped = set()
        return count

    def kill(self) -> tuple[int, set[int]]:
        """Freeze, then kill until nobody is left. Returns how many were reached and who, against all odds, survived."""
        count = self.freeze()
        if self._cgroups is not None:
            self._cgroups.kill()
        deadline = time.monotonic() + _KILL_SECONDS
        while True:
            present = {pid for pid in self.descendants() if not _has_ended(pid)}
            if not present or time.monotonic() > deadline:
                return count, present
            for pid in present:
                _signal(pid, signal.SIGKILL)
            if self._cgroups is not None:
                self._cgroups.thaw()  # who is frozen by a v1 cgroup dies of it only now
            self.wait(0.02)

    def wait_for_children(self) -> None:
        """Reap until no child is left, for a bounded time."""
        deadline = time.monotonic() + _REAP_SECONDS
        while proc.children(os.getpid()) and time.monotonic() < deadline:
            self.wait(0.01)

    def _settled(self, present: set[int], held: set[int]) -> bool:
        """Whether nobody runs. Who is held by the cgroup was woken to freeze, so whoever sleeps has frozen."""
        if held and present <= held and self._cgroups is not None and self._cgroups.is_frozen():
            return True
        return all(
            state in _STOPPED or (pid in held and state in _ASLEEP)
            for pid in present
            for state in proc.thread_states(pid)
        )

    def wait(self, seconds: float) -> None:
        """Until a child ends, and at most so long; reaps."""
        select.select([self._child_signal], [], [], seconds)
        self._reap()


def _has_ended(pid: int) -> bool:
    """Whether every thread has: the state in /proc is the first thread's, which may leave long before the others."""
    try:
        descriptor = pidfd.open_process(pid)
    except OSError:
        return True
    try:
        return pidfd.has_exited(descriptor)
    finally:
        os.close(descriptor)


def _signal(pid: int, number: int) -> bool:
    try:
        descriptor = pidfd.open_process(pid)
    except OSError:
        return False
    try:
        return pidfd.send_signal(descriptor, number)
    finally:
        os.close(descriptor)
