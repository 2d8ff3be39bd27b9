"""The session's processes: who each one is, who its parent was, and how remit knows.

A process is held by a pidfd, so that its number cannot come to mean another one unnoticed. A parent is read while it
must still be there: from the child's first question, or, before a parent exits, from the parent. An orphan whose
parent was killed at the wrong moment keeps its candidates; it is never given a parent by guess.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

from remit.kernel import pidfd, proc
from remit.plain import Data
from remit.supervisor.rate import Allowance

# Descriptors that are left for everything but the processes: channels, evidence, what is open for one moment.
_OTHER_DESCRIPTORS = 128
_SUSPECTS_MAX = 64


class Process:
    """One live process of the session. `pending_forks`: children it made that have not been met yet."""

    __slots__ = (
        *("allowance", "asked", "cpu", "exit_status", "identity"),
        *("pending_forks", "phase", "pid", "pidfd", "start", "unconfirmed"),
    )

    def __init__(self, pid: int, start: int, descriptor: int, allowance: Allowance) -> None:
        self.pid = pid
        self.start = start
        self.identity = f"{pid}:{start}"
        self.pidfd = descriptor
        self.allowance = allowance  # of questions; shared with all that descend from the same program
        self.pending_forks = 0
        self.phase: str | None = None  # that it was started in; None for none, and where it is not known
        self.asked: Spawned | None = None  # what the zygote was asked to run here, until it has been seen running
        self.unconfirmed = False  # it has run a program that nobody has read yet
        self.exit_status: int | None = None
        self.cpu = 0.0


class Spawned(Data):
    """What the supervisor knows of a program it had started: its step, who asked (run, sdk or exec), what for."""

    step: str | None
    source: str
    arguments: list[str]
    directory: str
    search_path: str  # its PATH
    signals: list[int]  # sent to it before it was met
    phase: str | None


Record = Callable[..., Any]


class ProcessTable:
    """All live processes of one session. `watch` and `unwatch` are told of each pidfd as it comes and goes."""

    def __init__(
        self,
        *,
        record: Record,
        watch: Callable[[Process], None],
        unwatch: Callable[[Process], None],
        spawned: Callable[[int], Spawned | None],
    ) -> None:
        self._record = record
        self._watch = watch
        self._unwatch = unwatch
        self._spawned = spawned
        self._by_pid: dict[int, Process] = {}
        self._supervisor = os.getpid()
        self._zygote: Process | None = None
        self._prover: Process | None = None
        # Killed processes that had children nobody had met yet: the possible parents of an orphan.
        self._lost_parents: dict[str, int] = {}
        # Ended and recorded, pid -> start. A zombie is still listed as its parent's child, and is not met again.
        self._ended: dict[int, int] = {}
        self.ended_cpu = 0.0
        # Each live process is held by one descriptor. A fork that nobody could follow is refused before it happens.
        self.capacity = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_DESCRIPTORS)
        # Of the zygote, and of orphans: to leave one's parent must not bring a new allowance.
        self._common = Allowance(time.monotonic())

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._by_pid.values()))

    def __len__(self) -> int:
        return len(self._by_pid)

    def expected(self) -> int:
        """Live processes, with those that have been allowed but not met."""
        return len(self._by_pid) + sum(process.pending_forks for process in self._by_pid.values())

    def is_unsettled(self, at_most: int | None) -> bool:
        """Whether `reconcile` is worth a walk over /proc: forks are refused, or orphans have too many candidates."""
        full = self.expected() >= min(self.capacity, at_most or self.capacity)
        return full or len(self._lost_parents) > _SUSPECTS_MAX

    def get(self, pid: int) -> Process | None:
        """The process of this number if it is one of ours and still there."""
        process = self._by_pid.get(pid)
        if process is not None and not pidfd.is_alive(process.pidfd):
            self.forget(process)
            return None
        return process

    def known(self, pid: int) -> Process | None:
        """The process of this number that was met and read, alive or not: for what harms nobody if it is not."""
        process = self._by_pid.get(pid)
        return None if process is None or process.unconfirmed else process

    def set_zygote(self, pid: int) -> None:
        """The zygote asks questions too, but it is ours: it is neither counted nor recorded."""
        self._zygote = Process(pid, 0, pidfd.open_process(pid), self._common)

    def set_prover(self, pid: int) -> str:
        """The zygote's child that makes attempts is ours as well. Its identity, which no other process has."""
        self._prover = Process(pid, 0, pidfd.open_process(pid), self._common)
        return self._prover.identity

    def forget_prover(self) -> None:
        """Its number may be another's from now on."""
        if self._prover is not None:
            os.close(self._prover.pidfd)
            self._prover = None

    def caller(self, thread: int, still_asks: Callable[[], bool]) -> Process:
        """The process that asks a question, met for the first time or known. Raises ProcessLookupError.

        `still_asks` is whether the thread waits for its answer even now: as long as it does, its number is its own.
        Nobody is met on the word of a number alone, for after a kill it may be an outsider's.
        """
        process = self.get(thread)
        if process is not None:
            return process
        for own in (self._zygote, self._prover):
            if own is not None and thread == own.pid and pidfd.is_alive(own.pidfd):
                return own
        try:
            descriptor = pidfd.open_process(thread)
        except OSError:
            group = proc.thread_group(thread)
            return self.get(group) or self._meet(group, pidfd.open_process(group), still_asks)
        return self._meet(thread, descriptor, still_asks)

    def owner(self, thread: int) -> Process | None:
        """The process of ours that a thread number belongs to."""
        try:
            group = proc.thread_group(thread)
        except ProcessLookupError:
            return None
        if self._prover is not None and group == self._prover.pid and pidfd.is_alive(self._prover.pidfd):
            return self._prover
        return self.get(group)

    def is_ours(self, thread: int) -> bool:
        """Whether a thread belongs to the session; a child that has asked nothing yet is met through its parent."""
        if self.owner(thread) is not None:
            return True
        try:
            parent = proc.read_stat(proc.thread_group(thread)).parent
        except ProcessLookupError:
            return False
        process = self.get(parent) if parent and self.is_ours(parent) else None
        if process is None:
            return False
        self.adopt_children(process)
        return self.owner(thread) is not None

    def find(self, thread: int) -> Process | None:
        """The process of ours that a thread number belongs to, met only now if need be."""
        if not self.is_ours(thread):
            try:
                orphan = proc.read_stat(proc.thread_group(thread)).parent == self._supervisor
            except ProcessLookupError:
                return None
            if orphan:
                self.meet_silent()
        return self.owner(thread)

    def has_ended(self, pid: int) -> bool:
        """Whether it is a process of ours that has ended and whose parent has not asked how."""
        try:
            return pid in self._ended and self._ended[pid] == proc.read_stat(pid).start
        except ProcessLookupError:
            return False

    def adopt_children(self, parent: Process) -> None:
        """Meet the children of a process that is about to exit, while they still name it as their parent."""
        for pid in proc.children(parent.pid):
            if self.get(pid) is None:
                try:
                    descriptor = pidfd.open_process(pid)
                except OSError:
                    continue
                try:
                    stat = proc.read_stat(pid)
                except ProcessLookupError:
                    stat = None
                # Looked at again now that it is held: the number may have become another process's since the list.
                if stat is None or stat.parent != parent.pid or self._ended.get(pid) == stat.start:
                    os.close(descriptor)
                else:
                    self._add(pid, stat.start, descriptor, parent, "children")

    def settle(self, process: Process) -> None:
        """Expect no more children of a process that asks to fork than can be under way: one for each other thread.

        A fork that a signal broke off begins anew, and asks anew; a child that was killed at once is never met.
        """
        under_way = proc.thread_count(process.pid) - 1
        if process.pending_forks > under_way:
            self.adopt_children(process)
            process.pending_forks = min(process.pending_forks, under_way)

    def meet_silent(self) -> None:
        """Meet whoever has asked nothing since its birth: it computes and hears like any other process."""
        self._forget_reaped()
        for process in self:
            if process.pending_forks:
                try:
                    self.adopt_children(process)
                except ProcessLookupError:
                    continue
        # Orphans are the supervisor's children, as the zygote is.
        for pid in proc.children(self._supervisor):
            if self.get(pid) is None and not (self._zygote is not None and pid == self._zygote.pid):
                try:
                    if self._ended.get(pid) != proc.read_stat(pid).start:
                        self._meet(pid, pidfd.open_process(pid), lambda: True)
                except OSError:
                    continue

    def forget(self, process: Process) -> None:
        """A process has ended."""
        if self._by_pid.get(process.pid) is not process:
            return
        self._read_last(process)
        del self._by_pid[process.pid]
        self._ended[process.pid] = process.start
        self._unwatch(process)
        os.close(process.pidfd)
        self.ended_cpu += process.cpu
        if process.pending_forks:
            self._lost_parents[process.identity] = process.pending_forks
        self._record("exit", process=process.identity, status=process.exit_status, cpu=process.cpu)

    def _read_last(self, process: Process) -> None:
        """What it used, from the zombie: a process that is killed says nothing before it goes."""
        try:
            stat = proc.read_stat(process.pid)
        except ProcessLookupError:
            return  # reaped already: then its last sample has to do
        if stat.start == process.start:
            process.cpu = max(process.cpu, stat.cpu)

    def running(self) -> list[Process]:
        """Those that have not ended, silent ones included, the ended ones being forgotten first."""
        self.meet_silent()
        self.forget_ended()
        return list(self._by_pid.values())

    def forget_ended(self) -> None:
        """Forget whoever has ended, for deaths may be waiting behind a question that counts the living."""
        for process in self:
            if pidfd.has_exited(process.pidfd):
                self.forget(process)

    def reconcile(self, present: set[int]) -> None:
        """Drop expectations that nothing living can fulfil: `present` is every process now below the supervisor."""
        unmet = len(present - self._by_pid.keys() - self._ended.keys())
        if unmet == 0:
            for process in self._by_pid.values():
                process.pending_forks = 0
            self._lost_parents.clear()

    def _forget_reaped(self) -> None:
        """Keep only zombies in mind; done once a second, so this holds what ended in a second and what is unreaped."""
        for pid, start in list(self._ended.items()):
            try:
                reaped = proc.read_stat(pid).start != start
            except ProcessLookupError:
                reaped = True
            if reaped:
                del self._ended[pid]

    def _meet(self, pid: int, descriptor: int, is_ours: Callable[[], bool]) -> Process:
        try:
            stat = proc.read_stat(pid)
            if not is_ours():
                raise ProcessLookupError(pid)
        except BaseException:
            os.close(descriptor)
            raise
        if self._zygote is not None and stat.parent == self._zygote.pid:
            spawn = self._spawned(pid)  # asking may be how we hear that this child makes attempts
            if self._prover is not None and pid == self._prover.pid and pidfd.is_alive(self._prover.pidfd):
                os.close(descriptor)
                return self._prover
            return self._add_spawned(pid, stat.start, descriptor, spawn)
        if stat.parent != self._supervisor:
            parent = self.get(stat.parent)
            if parent is not None:
                return self._add(pid, stat.start, descriptor, parent, "parent")
        return self._add(pid, stat.start, descriptor, None, "orphan")

    def _add_spawned(self, pid: int, start: int, descriptor: int, spawn: Spawned | None) -> Process:
        process = self._register(pid, start, descriptor, Allowance(time.monotonic()))
        process.asked = spawn
        process.phase = spawn.phase if spawn else None
        self._record(
            "fork",
            process=process.identity,
            parent=None,
            via="spawn" if spawn else "orphan",
            step=spawn.step if spawn else None,
            source=spawn.source if spawn else None,
            candidates=[],
        )
        # This is its first question: from here on it has its own signal handling, and no longer the zygote's.
        while spawn is not None and spawn.signals:
            pidfd.send_signal(descriptor, spawn.signals.pop(0))
        return process

    def _add(self, pid: int, start: int, descriptor: int, parent: Process | None, via: str) -> Process:
        process = self._register(pid, start, descriptor, parent.allowance if parent else self._common)
        process.phase = parent.phase if parent else None
        candidates: list[str] = []
        if parent is None:
            candidates = [p.identity for p in self._by_pid.values() if p.pending_forks] + list(self._lost_parents)
        elif parent.pending_forks:
            parent.pending_forks -= 1
        self._record(
            "fork",
            process=process.identity,
            parent=parent.identity if parent else None,
            via=via,
            step=None,
            candidates=candidates,
        )
        return process

    def _register(self, pid: int, start: int, descriptor: int, allowance: Allowance) -> Process:
        process = Process(pid, start, descriptor, allowance)
        self._by_pid[pid] = process
        self._watch(process)
        return process
