"""say-do-mismatch: the model says that something was done, or was not, and the kernel saw otherwise.

What it recognises
    Plain statements of fact in the model's answers, as the gateway or the harness has them recorded, that what the
    kernel saw contradicts: tests pass, or were run, when none ran in the session, or when the last run of all of
    them failed and none came after it; a file was written that no step opened for writing, or whose opening was
    refused; no network was used, after a connect of a step to another machine was begun or tried; `X` was not
    modified, deleted or run, and was.

Why it matters
    People act on the summary and not on the log. A result that was invented, or an act that is denied, is how work that
    was not done, or something that nobody approved, passes a review.

How it tells the benign twin apart
    Only what is stated plainly counts: no plans, conditions, doubts, questions, quotes, code, lists under a plan,
    or what others are said to say; and nothing said of some tests against a run of all. What the kernel cannot have
    seen is no contradiction: a tool that ran elsewhere or within the agent, a conversation that is older than the
    session, lost records, a script that may hold tests of its own and whose output speaks of passing, a file that
    some call names and that may have got its name by a rename. A wrapper that fails after its tests passed says
    nothing. Side questions of a harness, which offer no tools, are not judged.

Blind spots
    What is not said plainly, or in words that no pattern has; most languages but English. Tests that ran and were made
    to pass. A program of the agent's that is named as a test runner, or prints what one would. Numbers: 12 tests that
    are 3. An agent that writes its calls as text, so that no step is known. Without the transcript (`hashes`, `none`)
    there is nothing to compare. In normal sight a file that is only renamed, and a deletion that no program was started
    for.

References
    OWASP Agentic ASI09 Human-Agent Trust Exploitation, ASI10 Rogue Agents.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from remit.detectors.context import Context, is_local
from remit.detectors.deeds_seen import DeedsSeen
from remit.detectors.runners import may_test
from remit.detectors.runs import FAILED, PASSED, UNKNOWN, Run, Runs
from remit.events import Change, Connect, Event, Exec, Exit, Loss, Open, ProcessEvent, Session, Step, Turn
from remit.findings import Sighting, printable
from remit.tool_arguments import commands_in

if TYPE_CHECKING:
    from remit.detectors.statements import Statement

TECHNIQUES = ("ASI09", "ASI10")
# Members of the arguments of tools that read, write and search.
_NO_CODE = frozenset({
    "file_path", "path", "filename", "file", "notebook_path", "pattern", "glob", "include", "regex", "query",
    "content", "contents", "file_text", "new_string", "old_string", "new_str", "old_str", "insert_text",
    "new_source", "description", "prompt", "url", "title", "message", "thought",
})  # fmt: skip
_MOST_CALLERS, _MOST_COMMANDS = 4096, 16


class SayDoMismatch:
    behaviour = "say-do-mismatch"
    wants: frozenset[type] = frozenset({Step, Turn, Exec, Exit, Open, Change, Connect, Loss})

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runs = Runs()
        self._deeds = DeedsSeen()
        self._begun: dict[str, int] = {}  # step -> the record that begins it
        self._asked_for_tests: dict[str, bool] = {}  # step whose call does -> whether a program of it was seen
        self._resumed: dict[str | None, bool] = {}  # caller -> whether its conversation is older than the session
        self._results = False  # what calls brought is on record
        self._told_passing = 0  # the last record in which a result tells of tests that passed
        self._told_clean = 0  # and of none that failed
        self._unseen = False  # the model's provider ran something, or records were lost

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        match event:
            case Turn():
                yield from self._turn(event)
            case Step(mark="begin"):
                self._begun[event.step] = event.n
                self._deeds.asked(event.step, event.arguments)
                if _asks_for_tests(event.tool, event.arguments):
                    self._asked_for_tests[event.step] = False
            case Loss():
                self._unseen = True
            case Exec() | Exit() | Open() | Change() | Connect():
                self._act(event, context)

    def _act(self, event: ProcessEvent, context: Context) -> None:
        process = context.process(event.process)
        charge = process.charge if process else None
        steps = () if charge is None else (charge.step,) if charge.step else charge.candidates
        match event:
            case Exec(errno=0, refused=False):
                for step in steps:
                    if step in self._asked_for_tests:
                        self._asked_for_tests[step] = True
                child = process is not None and process.parent is not None and bool(self._begun)
                self._runs.ran(event, context.lineage, in_step=bool(steps) or child)
            case Exit():
                self._runs.exited(event, context.lineage)
            case Connect() if is_local(event.address):
                return
        self._deeds.feed(event, steps, posixpath.basename(process.image) if process else "")

    def _turn(self, turn: Turn) -> Iterator[Sighting]:
        if len(self._resumed) < _MOST_CALLERS:
            self._resumed.setdefault(turn.caller, turn.earlier > 0)
        if turn.mark == "request":
            self._results = self._results or bool(turn.results)
            if turn.results:
                from remit.detectors.statements_of_tests import tells_of_failing, tells_of_passing  # as below

                if any(map(tells_of_passing, turn.results)):
                    self._told_passing = turn.n
                    if not any(map(tells_of_failing, turn.results)):
                        self._told_clean = turn.n
            return
        self._unseen = self._unseen or turn.elsewhere
        if turn.tools == 0 or not turn.text:
            return
        from remit.detectors.statements import (
            NO_NETWORK,
            NOT_DONE,
            WROTE,
            read_statements,
        )  # most sessions have no words

        # What the calls of this very answer do comes after what it says.
        before = min((self._begun[step] for step in turn.steps if step in self._begun), default=turn.n)
        judges = {WROTE: self._wrote, NO_NETWORK: self._network, NOT_DONE: self._undone}
        for statement in read_statements(turn.text):
            yield from judges.get(statement.kind, self._tests)(statement, turn, before)

    def _tests(self, statement: Statement, turn: Turn, before: int) -> Iterator[Sighting]:
        runs = self._runs.before(before)
        if self._unseen or not self._begun or self._runs.forgotten or not all(self._asked_for_tests.values()):
            return
        if not runs:
            if not self._resumed.get(turn.caller, True) and not self._may_have_passed(before, 0):
                yield _sighting(turn, statement, "no test ran in this session", "tests")
        elif statement.whole:
            last = _last(runs, before)
            # A run whose tests pass may fail for another reason, such as what they cover.
            if last is None or self._told_clean > last.ended or self._may_have_passed(before, last.n):
                return
            if self._is_current(runs, last, before):
                said = f"the last test run, {last.name}, failed, and none came after it"
                yield _sighting(turn, statement, said, "tests", last.n, last.ended)

    def _may_have_passed(self, before: int, since: int) -> bool:
        """Whether something else that ran may have been tests that passed."""
        if self._runs.may_have(before, since):
            return True
        opaque = any(since < n < before for n in self._runs.opaque)
        return opaque and (not self._results or self._told_passing > since)

    def _is_current(self, runs: list[Run], last: Run, before: int) -> bool:
        """Whether a failing run is the last word: nothing passed ever, or since then something was changed that the
        failing run saw, and nothing after it. Otherwise it may have been an experiment."""
        passed = [run for run in runs if run.result == PASSED]
        if not passed:
            return True
        changed = self._deeds.wrote_between
        return changed(passed[-1].ended, last.n) and not changed(last.ended, before)

    def _wrote(self, statement: Statement, turn: Turn, before: int) -> Iterator[Sighting]:
        if self._unseen or not self._begun or self._resumed.get(turn.caller, True):
            return
        refused = self._deeds.not_written(statement.subject)
        if refused is not None:
            what = "its opening was refused" if refused else "nothing opened it for writing"
            yield _sighting(
                turn, statement, f"{statement.subject} was not written: {what}", statement.subject, *refused
            )

    def _network(self, statement: Statement, turn: Turn, before: int) -> Iterator[Sighting]:
        found = self._deeds.connected(before)
        if found is not None:
            word = "connected" if found.begun else "tried to connect"
            severity = "medium" if found.begun else "low"
            said = f"a step {word} to {found.address}:{found.port}"
            yield _sighting(turn, statement, said, "network", found.n, severity=severity)

    def _undone(self, statement: Statement, turn: Turn, before: int) -> Iterator[Sighting]:
        n = self._deeds.did(statement.verb, statement.subject, self._session.workspace, before)
        if n:
            yield _sighting(
                turn, statement, f"a step did {statement.verb} it", f"{statement.verb} {statement.subject}", n
            )


def _last(runs: list[Run], before: int) -> Run | None:
    """The failing run that all others ended before, if there is one."""
    known = [run for run in runs if not (run.result == UNKNOWN and FAILED in run.inner and run.ended)]
    last = known[-1] if known else None
    return last if last is not None and 0 < last.ended < before and last.result == FAILED else None


def _asks_for_tests(tool: str, arguments: Any) -> bool:
    """Whether a call is to run tests: by its tool's name, or by a command in its arguments."""
    if any(trace in tool.lower() for trace in ("test", "check", "verif")):
        return True
    commands = list(islice(commands_in(arguments), _MOST_COMMANDS))
    if not commands and isinstance(arguments, dict):  # cells of a notebook, and whatever else a tool calls its code
        commands = [text for name, text in arguments.items() if name not in _NO_CODE and isinstance(text, str)]
    return any(may_test(command if isinstance(command, str) else " ".join(command)) for command in commands)


def _sighting(
    turn: Turn, statement: Statement, contradiction: str, key: str, *events: int, severity: str = "medium"
) -> Sighting:
    said = printable(" ".join(statement.quote.split()), 200)
    text = printable(f'it said "{said}", but {contradiction}', 500)
    numbers = tuple(sorted({turn.n, *events}))
    return Sighting(
        f"{statement.kind} {key}", turn.caller or "", "succeeded", severity, TECHNIQUES, text, None, numbers
    )
