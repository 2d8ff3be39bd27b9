"""A session's own cgroups, for real: they hold memory and tasks, freeze and kill as one; nobody leaves, none stays.

As root they are made in this process's own cgroups; for the delegated ones a test gives a part of them to another user.
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
from typing import Any

import pytest
from stage import SEARCH_PATH, Stage, ended, is_sound, nobody_left, recorded, survivors, wait_for

import remit
from remit.boundary.cgroups import make_session_cgroups
from remit.boundary.host import find_host
from remit.kernel import landlock, proc
from remit.plan import CgroupLimits
from remit.report.summary import build_report
from remit.report.text import render_text

HOST = find_host()
NOBODY = 65534
pytestmark = [
    pytest.mark.skipif(not HOST.cgroup, reason="this user may make no cgroup in its own"),
    pytest.mark.skipif(landlock.abi() < 1, reason="without Landlock a cgroup is no wall"),
]
limits_memory = pytest.mark.skipif(not HOST.cgroup_memory, reason="no memory controller for this user's cgroups")
limits_tasks = pytest.mark.skipif(not HOST.cgroup_pids, reason="no pids controller for this user's cgroups")
freezes = pytest.mark.skipif(not HOST.cgroup_freezer, reason="no freezer for this user's cgroups")

SCOPE = "remit: 1\ntask: held\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
# Every way that a process has out of its cgroup, or to change what it is held to. Prints what got through.
LEAVE = """\
import ctypes, glob, json, os, struct, sys
C = ctypes.CDLL(None, use_errno=True)
through, tried = [], 0
def attempt(name, act):
    global tried
    tried += 1
    try:
        act()
    except OSError as problem:
        return
    through.append(name)
def write(path, text):
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
def into(path):
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY)
    # struct clone_args with CLONE_INTO_CGROUP; wants no right to write anything that a path names.
    arguments = ctypes.create_string_buffer(struct.pack("11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, directory), 88)
    pid = C.syscall(435, arguments, 88)
    if pid == 0:
        os._exit(0)
    os.close(directory)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
directories = [path for pattern in json.loads(sys.argv[1]) for path in glob.glob(pattern)]
def namespaces():
    if C.unshare(0x12020000):  # of the user, of mounts and of cgroups
        raise OSError(ctypes.get_errno(), "unshare")
before = open("/proc/self/cgroup").read()
for own in directories:
    for place in (own, os.path.dirname(own)):
        for name in os.listdir(place) if place == own else ("cgroup.procs", "tasks"):
            path = f"{place}/{name}"
            if os.path.isfile(path):
                value = str(os.getpid()) if name in ("cgroup.procs", "tasks", "cgroup.threads") else "max"
                attempt(path, lambda: write(path, value))
                attempt(f"{path} -1", lambda: write(path, "-1"))
                attempt(f"chmod {path}", lambda: os.chmod(path, 0o666))
                attempt(f"chown {path}", lambda: os.chown(path, os.getuid(), os.getgid() or 1))
        attempt(f"mkdir in {place}", lambda: os.mkdir(f"{place}/inner"))
        attempt(f"clone into {place}", lambda: into(place))
    attempt(f"rename {own}", lambda: os.rename(own, own + "-moved"))
    attempt(f"rmdir {own}", lambda: os.rmdir(own))
for kind, options in (("cgroup2", None), ("cgroup", b"memory"), ("cgroup", b"pids")):
    def mount():
        if C.mount(b"none", b".", kind.encode(), 0, options):
            raise OSError(ctypes.get_errno(), "mount")
    attempt(f"mount {kind}", mount)
    attempt(f"mount {kind} in namespaces", lambda: (namespaces(), mount()))
print(json.dumps({"through": through, "tried": tried, "moved": open("/proc/self/cgroup").read() != before}))
"""


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
    each = "import time; all = b'x' * (20 << 20); time.sleep(4)"
    text = f'for n in 1 2 3 4 5 6; do "{sys.executable}" -c "{each}" & done; wait'
    path = scope_file(outcome, "compute: {memory: 80MiB}\n")
    run = outcome.remit("run", "--scope", path, "--", "bash", "-c", text)
    assert run.returncode == 119, run.stderr
    is_sound(outcome.evidence())


@limits_memory
def test_files_in_the_cache_are_given_back_and_end_nobody(outcome: Stage) -> None:
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
    with remit.Session(workspace=outcome.workspace) as session:
        own = sorted(cgroups_of(zygote_of(session.evidence)))
        assert own
        told = session.run([sys.executable, "-c", LEAVE, json.dumps(own)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    said = json.loads(told.stdout)
    assert said["tried"] > 40
    assert (said["through"], said["moved"]) == ([], False)


def test_the_kernels_tree_is_the_sessions_tree(outcome: Stage) -> None:
    """Double forks and new sessions stay in it; remit's own, but for the zygote, are outside."""
    with remit.Session(workspace=outcome.workspace) as session:
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
    with ended(outcome.start("run", "--", *script, capture=False)) as run:
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
        outcome.remit("run", "--evidence", outcome.root / "second", "--", "true")
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


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a part of its cgroups to another user")
def test_as_the_user_that_a_part_was_delegated_to(tmp_path: Path) -> None:
    """That user owns the session's cgroups, and so does the agent; nothing but Landlock and seccomp is in its way."""
    delegated = make_delegated(f"delegated-{os.getpid()}")
    try:
        patterns = [f"{place}/remit-session-*" for place in delegated]
        script = DELEGATED.replace("LEAVE", repr(LEAVE)).replace("PATTERNS", repr(patterns))
        said = as_nobody(tmp_path, delegated, [sys.executable, "-c", script])
        assert said["host"]["uid"] == NOBODY
        assert said["host"]["cgroup"] is True
        assert said["own"] != []
        assert all(any(path.startswith(f"{place}/remit-session-") for place in delegated) for path in said["own"]), (
            said["own"]
        )
        for told in (said["leave"], said["observed"]):
            assert isinstance(told, dict), told
            assert told["tried"] > 40
            assert (told["through"], told["moved"]) == ([], False)
        assert [path for place in delegated for path in os.listdir(place) if path.startswith("remit-")] == []
    finally:
        for place in delegated:
            os.rmdir(place)


DELEGATED = """\
import json, os, subprocess, sys
from remit import Session
from remit.boundary.host import find_host
from remit.evidence.reader import read_records
from remit.kernel import proc
from remit.plain import plain
os.mkdir("work")
with Session(workspace="work") as session:
    (header,) = (r for r in read_records(session.evidence) if r["kind"] == "session")
    own = []
    inside = open(f"/proc/{header['zygote']}/cgroup").read()
    for mount in proc.cgroup_mounts():
        for line in inside.splitlines():
            number, names, path = line.split(":", 2)
            same = (mount.version == 2) == (number == "0")
            if same and mount.options.issuperset(filter(None, names.split(","))) and "/remit-session-" in path:
                own.append(mount.point + path.removeprefix(mount.root.rstrip("/")))
    told = session.run([sys.executable, "-c", LEAVE, json.dumps(own)], capture_output=True, text=True)
    leave = json.loads(told.stdout) if told.stdout else told.stderr
# Observed, it may do all that a scope could grant.
entry = [sys.executable, "-c", "from remit.cli import entry; entry()", "run", "--observe", "--workspace", "work", "--"]
told = subprocess.run([*entry, sys.executable, "-c", LEAVE, json.dumps(PATTERNS)], capture_output=True, text=True)
observed = json.loads(told.stdout) if told.stdout else told.stderr
print(json.dumps({"host": plain(find_host()), "own": own, "leave": leave, "observed": observed}))
"""


def make_delegated(name: str) -> list[str]:
    """A cgroup in each hierarchy that remit uses, owned by nobody, as a service manager delegates them."""
    made = []
    for own in proc.own_cgroups(proc.cgroup_mounts()):
        if own.version == 2 or {"memory", "pids", "cpuacct", "freezer"} & set(own.controllers):
            place = f"{own.directory}/{name}"
            os.mkdir(place)
            made.append(place)
            for file in ("", "cgroup.procs", "tasks", "cgroup.subtree_control", "cgroup.threads"):
                if os.path.exists(f"{place}/{file}"):
                    os.chown(f"{place}/{file}", NOBODY, NOBODY)
    return made


def as_nobody(tmp_path: Path, cgroups: list[str], command: list[str]) -> dict[str, Any]:
    home = tmp_path / "home"
    home.mkdir()
    for directory in (home, *home.parents):
        if os.stat(directory).st_uid == 0 and directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            os.chmod(directory, 0o711)
    os.chown(home, NOBODY, NOBODY)

    def become() -> None:
        for place in cgroups:
            Path(f"{place}/cgroup.procs").write_text(str(os.getpid()))
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    environment = {"HOME": str(home), "PATH": SEARCH_PATH, "PYTHONDONTWRITEBYTECODE": "1"}
    package = str(Path(remit.__file__).parents[1])
    readable = subprocess.run(
        [sys.executable, "-c", "import remit"],
        cwd=home,
        env=environment,
        preexec_fn=become,
        capture_output=True,
        check=False,
    )
    if readable.returncode != 0:
        pytest.skip(f"another user cannot read this Python, or remit in {package}")
    done = subprocess.run(
        command, cwd=home, env=environment, preexec_fn=become, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
