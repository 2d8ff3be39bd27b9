"""At every start the walls are tried before the agent: the results stand in the report, and an open wall stops it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from remit.attempts import quick
from remit.attempts.attempt import HELD, OPEN
from remit.attempts.chosen import CHOSEN
from remit.boundary.cache import load_plan
from remit.boundary.filters import RULES, compile_filter
from remit.boundary.host import find_host
from remit.cli.begin import begin_session
from remit.cli.launcher import Request, launch
from remit.errors import EXIT_BOUNDARY, RemitError
from remit.evidence.chain import verify
from remit.evidence.reader import read_records
from remit.kernel.libc import MACHINE
from remit.plan import Plan
from remit.report.summary import build_report
from remit.scope.gaps import WALL_NAMES


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    return place


def default_plan(workspace: Path, **options: Any) -> Plan:
    return load_plan(
        None, workspace=workspace, environment=dict(os.environ), evidence_root=workspace.parent / "root", **options
    )


def start(plan: Plan, workspace: Path, evidence: Path, accept: tuple[str, ...] = ()) -> int:
    """The exit status of a session of this plan, which makes a file; in a process of its own, as from a shell."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.chdir(workspace)
            request = Request(plan, ("touch", "started"), os.environ, {}, accept_gaps=accept)
            launch(request, begin_session(evidence)).wait()
            status = 0
        except RemitError as problem:
            (evidence.parent / "said").write_text(problem.message)
            status = problem.exit_status
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kinds_of(evidence: Path) -> list[str]:
    """What was recorded, in order; checkpoints come when they come."""
    return [record["kind"] for record in read_records(evidence) if record["kind"] != "checkpoint"]


def without(plan: Plan, name: str) -> Plan:
    return plan._replace(seccomp=compile_filter(MACHINE, [rule for rule in RULES if rule.name != name]))


def test_what_was_tried_and_held_is_in_the_report(workspace: Path, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    assert start(default_plan(workspace), workspace, evidence) == 0
    report = build_report(evidence)
    tried = {attempt["name"] for attempt in report["attempts"]}
    assert tried == {attempt.name for attempt in quick.chosen(CHOSEN)}
    assert [attempt for attempt in report["attempts"] if attempt["result"] != HELD] == []
    held = {wall["name"]: wall["held"] for wall in report["walls"]}
    for wall in ("files", "tcp", "signals", "addresses", "unix-sockets", "socket-kinds", "system-calls", "privileges"):
        assert held[wall] is True
    # Nothing is claimed of what was not tried.
    assert held["images"] is None


def test_the_attempts_are_no_denials_of_the_agents(workspace: Path, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    assert start(default_plan(workspace), workspace, evidence) == 0
    assert build_report(evidence)["denials"] == []
    kinds = kinds_of(evidence)
    assert kinds[:3] == ["session", "attempts", "fork"]
    assert not {"privilege", "signal", "connect", "bind", "flow"} & set(kinds)


@pytest.mark.parametrize("name", ["connect", "ptrace", "io_uring_setup", "sendmsg"])
def test_an_open_wall_stops_the_session_before_the_agent(workspace: Path, tmp_path: Path, name: str) -> None:
    evidence = tmp_path / "evidence"
    assert start(without(default_plan(workspace), name), workspace, evidence) == EXIT_BOUNDARY
    assert "a wall did not hold" in (tmp_path / "said").read_text()
    assert not (workspace / "started").exists()
    assert kinds_of(evidence) == ["session", "attempts", "end", "closed"]
    assert verify(evidence).closed
    report = build_report(evidence)
    assert OPEN in {attempt["result"] for attempt in report["attempts"]}
    assert False in {wall["held"] for wall in report["walls"]}


def test_what_an_accepted_gap_names_stops_nothing_and_is_not_claimed(workspace: Path, tmp_path: Path) -> None:
    """A host whose Landlock is of an older kernel, which has no scopes."""
    host = find_host()._replace(landlock_abi=5)
    evidence = tmp_path / "evidence"
    plan = default_plan(workspace, host=host, accept_gaps=WALL_NAMES)
    accept = ("abstract-sockets-unwalled",)
    assert start(plan, workspace, evidence, accept) == 0, (tmp_path / "said").read_text()
    assert (workspace / "started").exists()
    attempts = {attempt["name"]: attempt for attempt in build_report(evidence)["attempts"]}
    assert attempts["unix-abstract"]["result"] == OPEN
    assert attempts["unix-abstract"]["gap"] == "abstract-sockets-unwalled"
    assert attempts["signal-supervisor"]["result"] == HELD  # by the supervisor there


def test_nothing_is_left_in_the_workspace_or_in_the_evidence(workspace: Path, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    assert start(default_plan(workspace), workspace, evidence) == 0
    assert os.listdir(workspace) == ["started"]
    assert sorted(os.listdir(evidence)) == ["segment-000001.jsonl"]
