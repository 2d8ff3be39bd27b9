"""The test runs of a session, and how each ended: what there is to compare with a statement that tests pass.

A run within a run (a test suite that starts pytest, xdist's workers) is a part of it. A wrapper such as make may fail
for other reasons, so it is believed when it fails only if no test that it ran succeeded; and when it succeeds, only if
none failed.
"""

from __future__ import annotations

from remit.attribution.deeds import exit_status
from remit.attribution.lineage import Lineage, Process
from remit.detectors.runners import LEAF, MAYBE, OPAQUE, WRAPPER, runs_tests
from remit.events import Exec, Exit

_MOST = 4096  # runs that are remembered
_DEEPEST = 64
PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"
# What else than failing tests these end with: interrupted, wrong use, nothing found.
_PYTEST = ("pytest", "py.test", "pytest-3")


class Run:
    """One run; `ended` is the record of its end, 0 while it goes on."""

    def __init__(self, n: int, kind: str, name: str, outer: Run | None) -> None:
        self.n, self.kind, self.name, self.outer = n, kind, name, outer
        self.ended = 0
        self.result = UNKNOWN
        self.inner: set[str] = set()  # what the runs within it came to


class Runs:
    """All of them, by process while they go on."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.maybe: list[int] = []  # records of what may have been tests
        self.opaque: list[int] = []  # and of programs that could hold anything
        self.forgotten = False
        self._active: dict[str, Run] = {}
        self._looks: dict[str, int] = {}  # shells and the like that may have run tests, while they go on

    def ran(self, event: Exec, lineage: Lineage, *, in_step: bool) -> None:
        """A program began. `in_step`: it is part of the agent's work, not the agent itself."""
        kind = runs_tests(event.image, event.arguments)
        if kind in (LEAF, WRAPPER):
            self._begin(event, kind, lineage)
        elif kind == MAYBE and in_step:
            self._looks[event.process] = event.n
        elif kind == OPAQUE and in_step:
            self._note(self.opaque, event.n)

    def exited(self, event: Exit, lineage: Lineage) -> None:
        status = exit_status(event.status)
        looked = self._looks.pop(event.process, None)
        if looked is not None and status == 0:
            self._note(self.maybe, looked)
            outer = self._outer(lineage.get(event.process), lineage)
            if outer is not None:
                outer.inner.add(PASSED)
        run = self._active.pop(event.process, None)
        if run is None:
            return
        run.ended, run.result = event.n, _result(run, status)
        if run.outer is not None:
            run.outer.inner.add(run.result)

    def before(self, n: int) -> list[Run]:
        """The runs that had begun before this record, in the order of their ends; one that goes on comes last."""
        return sorted((run for run in self.runs if run.n < n), key=lambda run: run.ended or 1 << 62)

    def may_have(self, n: int, since: int = 0) -> bool:
        """Whether anything else before this record, or something that still goes on, may have been tests."""
        return any(since < seen < n for seen in (*self.maybe, *self._looks.values()))

    def _begin(self, event: Exec, kind: str, lineage: Lineage) -> None:
        known = self._active.get(event.process)
        if known is not None:
            known.kind = LEAF if kind == LEAF else known.kind  # env, timeout or npm that became the runner itself
            return
        outer = self._outer(lineage.get(event.process), lineage)
        if outer is not None and outer.kind == LEAF:
            return
        if len(self.runs) >= _MOST:
            self.forgotten = True
            return
        run = Run(event.n, kind, _name(event), outer)
        self.runs.append(run)
        self._active[event.process] = run

    def _outer(self, process: Process | None, lineage: Lineage) -> Run | None:
        for _ in range(_DEEPEST):
            if process is None or process.parent is None:
                return None
            if process.parent in self._active:
                return self._active[process.parent]
            process = lineage.get(process.parent)
        return None

    def _note(self, where: list[int], n: int) -> None:
        if len(where) < _MOST:
            where.append(n)


def _result(run: Run, status: int | None) -> str:
    if status is None or status in (126, 127) or (run.name in _PYTEST and status > 2):
        return UNKNOWN
    if status == 0:
        return UNKNOWN if FAILED in run.inner else PASSED
    return UNKNOWN if run.kind == WRAPPER and PASSED in run.inner else FAILED


def _name(event: Exec) -> str:
    words = " ".join(event.arguments[:4])
    return "pytest" if any(name in words for name in _PYTEST) else event.image.rpartition("/")[2]
