"""A session's own cgroups, for real: they hold memory and tasks, freeze and kill as one; nobody leaves, none stays.

They are made in this process's own cgroups, so mostly this wants root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaving import LEAVE
from stage import LACKING, Stage, ended, is_sound, nobody_left, recorded, survivors, wait_for

import remit
from remit.boundary.cgroups import make_session_cgroups
from remit.boundary.host import find_host
from remit.kernel import landlock, proc
from remit.plan import CgroupLimits
from remit.report.summary import build_report
from remit.report.text import render_text

HOST = find_host()
pytestmark = [
    pytest.mark.skipif(not HOST.cgroup, reason="this user may make no cgroup in its own"),
    pytest.mark.skipif(landlock.abi() < 1, reason="without Landlock a cgroup is no wall"),
]
limits_memory = pytest.mark.skipif(not HOST.cgroup_memory, reason="no memory controller for this user's cgroups")
limits_tasks = pytest.mark.skipif(not HOST.cgroup_pids, reason="no pids controller for this user's cgroups")
freezes = pytest.mark.skipif(not HOST.cgroup_freezer, reason="no freezer for this user's cgroups")

SCOPE = (
    "remit: 1\ntask: held\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
    f"accept-gaps: [{', '.join(LACKING)}]\n"
)
ACCEPT = [f"--accept-gap={name}" for name in LACKING]


def cgroups_of(pid: int) -> set[str]:
    """The directories of those that a process is in and that are a session's."""
    mine = Path(f"/proc/{pid}/cgroup").read_text()
    found = set()
    for own in proc.cgroup_mounts():
        for line in mine.splitlines():
            number, names, path = line.split(":", 2)
            same = (own.version == 2) == (number == "0") and own.options.issuperset(filter(None, names.split(",")))
            if same and "/remit-session-" in path:
                found.add(own.point + path.removeprefix(own.root.rstrip("/")))
    return found


def zygote_of(evidence: Path) -> int:
    (header,) = recorded(evidence, "session")
    pid: int = header["zygote"]
    return pid


def scope_file(stage: Stage, text: str) -> Path:
    path = stage.root / "scope.yaml"
    path.write_text(SCOPE + text)
    return path


@pytest.fixture
def outcome(stage: Stage) -> Iterator[Stage]:
    """After each test no cgroup of its sessions is left."""
    yield stage
    for evidence in stage.sessions.iterdir() if stage.sessions.exists() else ():
        session = recorded(evidence, "session")[0]["session"]
        wait_for(lambda name=session: left_of(name) == [], f"the cgroups of {session} to go", 10.0)


def left_of(session: str) -> list[str]:
    own = proc.own_cgroups(proc.cgroup_mounts())
    places = {place for each in own for place in (each.directory, os.path.dirname(each.directory))}
    return [path for place in places if os.path.isdir(path := f"{place}/remit-session-{session}")]


@limits_memory
def test_memory_is_held_by_the_kernel_and_shared_memory_counts(outcome: Stage) -> None:
    """Memory files, mapped nowhere, are no process's resident memory: only the kernel sees them."""
    text = "import os\nfile = os.memfd_create('m')\nfor n in range(400): os.write(file, bytes(1 << 20))"
    path = scope_file(outcome, "compute: {memory: 96MiB}\n")
    run = outcome.remit("run", "--scope", path, "--", sys.executable, "-c", text)
    evidence = outcome.evidence()
    (end,) = recorded(evidence, "end")
    assert (run.returncode, end["exit_source"], end["ended_by"]) == (119, "remit", "compute.memory")
    assert recorded(evidence, "response", verdict="kill", by="budget") != []
    (header,) = recorded(evidence, "session")
    assert {"name": "memory", "strength": "kernel", "held": True} in header["walls"]
    is_sound(evidence)
    nobody_left(evidence)


@limits_memory
def test_memory_of_many_together_is_held(outcome: Stage) -> None:
    each = "import signal; all = b'x' * (20 << 20); signal.pause()"
    text = f'for n in 1 2 3 4 5 6; do "{sys.executable}" -c "{each}" & done; wait'
    path = scope_file(outcome, "compute: {memory: 80MiB}\n")
    run = outcome.remit("run", "--scope", path, "--", "bash", "-c", text)
    assert run.returncode == 119, run.stderr
    is_sound(outcome.evidence())


@limits_memory
def test_files_in_the_cache_are_given_back_and_end_nobody(outcome: Stage) -> None:
    kind = subprocess.run(["stat", "-f", "-c", "%T", outcome.root], capture_output=True, text=True, check=True).stdout
    if kind == "tmpfs\n":
        pytest.skip("files of a tmpfs are memory")
    text = "head -c 200M /dev/zero > big && cat big big > /dev/null && rm big"
    path = scope_file(outcome, "compute: {memory: 64MiB}\n")
    assert outcome.remit("run", "--scope", path, "--", "bash", "-c", text).returncode == 0
    assert recorded(outcome.evidence(), "response") == []


@limits_tasks
def test_tasks_are_held_by_the_kernel_and_a_crossing_is_recorded(outcome: Stage) -> None:
    """Threads are no processes, so `processes.at-most` alone stops none of them."""
    text = """\
import threading
threading.stack_size(65536)
over = threading.Event()
made = []
try:
    while True:
        made.append(threading.Thread(target=over.wait))
        made[-1].start()
except RuntimeError:
    print(len(made))
over.set()
"""
    path = scope_file(outcome, "processes: {at-most: 3}\n")
    run = outcome.remit("run", "--scope", path, "--", sys.executable, "-c", text)
    assert run.returncode == 0, run.stderr
    assert 64 <= int(run.stdout) <= 3 * 64
    evidence = outcome.evidence()
    told = recorded(evidence, "response", verdict="record", by="budget", clause="processes.at-most")
    assert told
    assert told[0]["tasks_refused"] >= 1
    assert "the kernel refused processes or threads" in render_text(build_report(evidence))
    is_sound(evidence)


def test_nobody_leaves_nor_changes_what_holds_it(outcome: Stage) -> None:
    with remit.Session(workspace=outcome.workspace, accept_gaps=LACKING) as session:
        own = sorted(cgroups_of(zygote_of(session.evidence)))
        assert own
        told = session.run([sys.executable, "-c", LEAVE, json.dumps(own)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["tried"] > 40
    assert (said["through"], said["moved"]) == ([], False)


def test_the_kernels_tree_is_the_sessions_tree(outcome: Stage) -> None:
    """Double forks and new sessions stay in it; remit's own, but for the zygote, are outside."""
    with remit.Session(workspace=outcome.workspace, accept_gaps=LACKING) as session:
        own = cgroups_of(zygote_of(session.evidence))
        session.run(["bash", "-c", "(setsid sleep 1000 &) ; :"], check=True)
        (header,) = recorded(session.evidence, "session")
        sleeping = wait_for(
            lambda: [r for r in recorded(session.evidence, "exec") if r["arguments"][:1] == ["sleep"]], "the sleeper"
        )
        pid = int(sleeping[0]["process"].partition(":")[0])
        assert cgroups_of(pid) == own != set()
        assert cgroups_of(header["supervisor"]) == cgroups_of(header["deputy"]) == cgroups_of(os.getpid()) == set()


@freezes
@pytest.mark.parametrize("whom", ["supervisor", "both"])
def test_after_a_crash_none_is_left(whom: str, outcome: Stage) -> None:
    """With the launcher alive it cleans up; without it the next session does, and ends whom the first has left."""
    script = [sys.executable, "-c", "import time\nopen('there', 'w').close()\nwhile True: time.sleep(1)"]
    with ended(outcome.start("run", *ACCEPT, "--", *script, capture=False)) as run:
        wait_for((outcome.workspace / "there").exists, "the agent")
        evidence = outcome.evidence()
        (header,) = recorded(evidence, "session")
        if whom == "both":
            os.kill(run.pid, signal.SIGSTOP)  # so that it does not see the other's end first
        os.kill(header["supervisor"], signal.SIGKILL)
        if whom == "both":
            run.kill()
        run.wait(20)
    if whom == "both":
        assert left_of(header["session"]) != []
        outcome.remit("run", *ACCEPT, "--evidence", outcome.root / "second", "--", "true")
    assert left_of(header["session"]) == []
    wait_for(lambda: survivors(evidence) == [], "the agent's end")


@freezes
def test_v2_is_there_to_attach_to(outcome: Stage) -> None:
    if not any(mount.version == 2 for mount in proc.cgroup_mounts()):
        pytest.skip("no v2 hierarchy is mounted")
    cgroups = make_session_cgroups(f"test-{os.getpid()}", CgroupLimits())
    try:
        assert cgroups.unified is not None
        sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            cgroups.enter(sleeper.pid)
            assert cgroups.members() == {sleeper.pid}
            assert cgroups.freeze()
            wait_for(cgroups.is_frozen, "the freeze")
            cgroups.remove()
            assert sleeper.wait(10) == -signal.SIGKILL
        finally:
            sleeper.kill()
            sleeper.wait()
        assert not os.path.exists(cgroups.unified)
    finally:
        cgroups.remove()


def test_what_only_has_such_a_name_is_left_alone(outcome: Stage) -> None:
    """Somebody else's cgroups, such as a service manager's units, are not made as ours are."""
    made = make_session_cgroups(f"test-{os.getpid()}-place", CgroupLimits())
    place = os.path.dirname(made.paths()[0])
    made.remove()
    others = [(f"{place}/remit-session-{os.getpid()}", 0o755), (f"{place}/remit-session-{os.getpid()}.service", 0o700)]
    for path, mode in others:
        os.mkdir(path, mode)
    try:
        make_session_cgroups(f"test-{os.getpid()}-beside", CgroupLimits()).remove()
        assert [os.path.isdir(path) for path, _ in others] == [True, True]
    finally:
        for path, _ in others:
            os.rmdir(path)


def test_sessions_that_begin_together_sweep_nothing_of_each_other(outcome: Stage) -> None:
    """Each sweeps what it takes for dead while others make theirs."""
    problems: list[BaseException] = []

    def some(name: str) -> None:
        try:
            for number in range(20):
                cgroups = make_session_cgroups(f"test-{os.getpid()}-{name}-{number}", CgroupLimits())
                assert all(os.path.isdir(path) for path in cgroups.paths())
                cgroups.remove()
        except BaseException as problem:
            problems.append(problem)

    together = [threading.Thread(target=some, args=(name,)) for name in "abc"]
    for each in together:
        each.start()
    for each in together:
        each.join()
    assert problems == []
