"""What is secret or protected inside a granted tree is taken back from it by mounts, and nothing inside lifts them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attacks import SECRET, Inside, Open, new_workspace

from remit import Session
from remit.boundary.mask_mounts import can_mount, mount_points

pytestmark = pytest.mark.skipif(not can_mount(), reason="no mount namespace of one's own can be had here")

SCOPE = """\
remit: 1
task: attack
use: [base, python]
files:
  write: [$WORKSPACE, $TMPDIR]
  secrets: [.env, deep/er/keys]
  protect: [repo/config, repo/hooks, .claude, new/place/file]
"""
# The same must hold where all files are walled by mounts.
VIEW = "nested-sandbox: mount\naccept-gaps: [proc-writable, files-by-mounts]\n"
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
# Where something lies that must not be replaced, what would be made there is told that it is there already.
KEPT = (*REFUSED, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)


@pytest.fixture(scope="module", params=["", VIEW], ids=["landlock", "view"])
def scope(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param and os.getuid() == 0:
        pytest.skip("not for root")
    path = tmp_path_factory.mktemp("scope") / "scope.yaml"
    path.write_text(SCOPE + request.param)
    return path


def has_view(masked: Inside) -> bool:
    return "files-by-mounts" in {gap["name"] for gap in masked.header()["gaps"]}


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold in 20 seconds; the supervisor looks once in each."""
    deadline = time.monotonic() + 20
    while not (held := holds()) and time.monotonic() < deadline:
        os.sched_yield()
    return held


def fill(workspace: Path) -> Path:
    for name in ("deep/er/keys", "repo/hooks"):
        (workspace / name).mkdir(parents=True)
    for name in (".env", "deep/er/keys/id", "repo/hooks/pre-commit"):
        (workspace / name).write_text(SECRET)
    (workspace / "repo/config").write_text("config\n")
    return workspace


@pytest.fixture(scope="module")
def masked(scope: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    workspace = fill(new_workspace(tmp_path_factory))
    with Session(scope, workspace=workspace) as session:
        yield Inside(session, workspace)
    assert {"config", "hooks"} <= set(os.listdir(workspace / "repo"))
    assert not (workspace / ".claude").exists(), "a placeholder was left behind"
    assert not (workspace / "new" / "place" / "file").exists()
    assert (workspace / ".env").read_text() == (workspace / "deep/er/keys/id").read_text() == SECRET
    assert (workspace / "repo/config").read_text() == "config\n"


def test_the_gaps_are_closed_and_the_wall_is_named(masked: Inside) -> None:
    assert masked.run(["true"]).status == 0
    header = masked.header()
    assert not {gap["name"] for gap in header["gaps"]} & {"secret-inside-grant", "protected-inside-grant"}
    assert {"name": "masks", "strength": "kernel", "held": True} in header["walls"]


@pytest.mark.parametrize("name", [".env", "deep/er/keys/id"])
def test_a_secret_is_not_read_by_any_way(masked: Inside, name: str) -> None:
    attempt = masked.do("masks.py", "reads", masked.workspace / name)
    reached = {way: error for way, error in attempt.result.items() if error not in (*REFUSED, errno.ENOENT)}
    assert reached == {}
    assert SECRET not in attempt.errors
    assert not (masked.workspace / f"{name}.other").exists() or (masked.workspace / f"{name}.other").read_text() == ""


@pytest.mark.parametrize("name", ["repo/config", "repo/hooks", "repo/hooks/pre-commit"])
def test_what_is_protected_is_not_changed_by_any_way(masked: Inside, name: str) -> None:
    attempt = masked.do("masks.py", "changes", masked.workspace / name)
    beneath = name.endswith("pre-commit")  # its neighbours are protected too, so nothing can be made to rename over it
    assert attempt.errno == (errno.EROFS if beneath else 0)
    if not beneath:
        assert {way: error for way, error in attempt.result.items() if error not in KEPT} == {}


@pytest.mark.parametrize("name", [".claude", "new/place/file"])
def test_what_is_protected_and_missing_is_not_made_by_any_way(masked: Inside, name: str) -> None:
    result = masked.do("masks.py", "changes", masked.workspace / name).result
    assert {way: error for way, error in result.items() if error not in KEPT} == {}


@pytest.mark.parametrize("name", ["deep", "deep/er", "deep/er/keys", "repo", "new", "new/place"])
def test_no_directory_on_the_way_to_a_mask_is_moved(masked: Inside, name: str) -> None:
    result = masked.do("masks.py", "moves", masked.workspace / name).result
    allowed = (*REFUSED, errno.ENOTEMPTY)
    assert {way: error for way, error in result.items() if error not in allowed} == {}


@pytest.mark.parametrize("name", [".env", "deep/er/keys", "repo", "repo/config", ".claude"])
def test_no_mask_is_lifted(masked: Inside, name: str) -> None:
    result = masked.do("masks.py", "lifts", masked.workspace / name).result
    # In a namespace of its own a program may put up a root; what it can lift there is tried in test_views.
    allowed = {"new namespaces": 0, "chroot": 0} if has_view(masked) else {}
    assert result == dict.fromkeys(result, errno.EPERM) | allowed


def test_the_rights_that_mounting_needed_are_gone_for_good(masked: Inside) -> None:
    result = masked.do("masks.py", "privileges").result
    assert {result[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert result["NoNewPrivs"] == "1"
    # Inside as outside, this user is this user.
    assert result["user"] == result["owner"] == str(os.getuid())


def test_what_was_refused_is_recorded_with_the_key_of_the_scope(masked: Inside) -> None:
    write = "import os, sys; os.open(sys.argv[1], os.O_WRONLY)"
    for name, error, clause in (("repo/config", errno.EROFS, "files.protect"), (".env", errno.EACCES, "files.secrets")):
        path = str(masked.workspace / name)
        attempt = masked.run([sys.executable, "-c", write, path])
        (record,) = attempt.refusals("open", path=path, errno=error, wall="masks", clause=clause)
        assert record["predicted"]


def test_the_rest_of_the_tree_works_as_ever(masked: Inside) -> None:
    work = "mkdir -p repo/objects && echo x > repo/objects/y && mv repo/objects/y repo/z && rm -r repo/z repo/objects"
    attempt = masked.run(
        ["sh", "-ec", work + " && cat repo/config repo/hooks/pre-commit >/dev/null && ls -a >/dev/null"]
    )
    assert (attempt.status, attempt.errors) == (0, "")
    assert [record for record in attempt.records if record.get("refused")] == []


def test_programs_are_watched_as_ever(masked: Inside) -> None:
    """The supervisor reads, traces and takes sockets from processes in the session's user namespace."""
    attempt = masked.do("network.py", "connect", "127.0.0.1", 9)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", port=9)) == 1
    images = [record for record in attempt.records if record["kind"] == "exec"]
    assert [(record["confirmed"], record["refused"]) for record in images] == [(True, False)]
    assert masked.do("masks.py", "dumpable_memory").errno == 0


def test_a_directory_handed_over_does_not_lead_beneath_the_masks(masked: Inside) -> None:
    holder = os.open(masked.workspace, os.O_RDONLY | os.O_DIRECTORY)
    with masked.session.step("handed-over", tool="attack"):
        program = masked.session.popen(
            ["sh", "-c", "cat /proc/self/fd/0/.env"],
            stdin=holder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, _ = program.communicate()
    os.close(holder)
    assert program.returncode != 0
    assert ("descriptor 0 was opened outside" if has_view(masked) else "descriptor 0 is a directory") in said
    assert SECRET not in said


def test_a_mask_that_comes_off_from_outside_is_put_back_and_said(
    scope: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An editor saves by renaming over; that takes the mount away in every namespace."""
    workspace = fill(new_workspace(tmp_path_factory))
    with Session(scope, workspace=workspace) as session:
        inside = Inside(session, workspace)
        assert inside.run(["true"]).status == 0
        zygote = inside.header()["zygote"]
        for name in (".env", "repo/config"):
            (workspace / "saved").write_text(SECRET)
            os.replace(workspace / "saved", workspace / name)
        os.rmdir(workspace / ".claude")
        # The supervisor looks once a second: wait for what it writes, not for the time.
        wanted = {str(workspace / name) for name in (".env", "repo/config", ".claude")}
        assert eventually(lambda: any(r["kind"] == "loss" and r["class"] == "mask" for r in inside.records()))
        assert eventually(lambda: wanted <= mount_points(zygote))
        result = inside.do("masks.py", "reads", workspace / ".env").result
        assert {way: error for way, error in result.items() if error not in (*REFUSED, errno.ENOENT)} == {}
        assert inside.do("masks.py", "changes", workspace / ".claude").result["write"] in KEPT
    assert not (workspace / ".claude").exists()


def test_two_sessions_share_a_workspace_and_leave_nothing(
    scope: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workspace = fill(new_workspace(tmp_path_factory))
    with Session(scope, workspace=workspace), Session(scope, workspace=workspace) as second:
        assert Inside(second, workspace).do("masks.py", "changes", workspace / ".claude").result["write"] in KEPT
    assert not (workspace / ".claude").exists()
    assert not (workspace / "new").exists()


def test_a_secret_with_a_second_name_stays_a_gap(scope: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = fill(new_workspace(tmp_path_factory))
    os.link(workspace / ".env", workspace / "same")
    remit = os.path.join(os.path.dirname(sys.executable), "remit")
    done = subprocess.run(
        [remit, "run", "--scope", str(scope), "--", "true"], cwd=workspace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 122
    assert "secret-inside-grant" in done.stderr


def test_a_plan_without_masks_makes_no_namespace(open_session: Open) -> None:
    assert open_session().do("masks.py", "privileges").result["namespace"] == os.readlink("/proc/self/ns/user")


OWN_NAMES = """
import json, multiprocessing, os
leader, follower = os.openpty()
os.write(follower, b"said")
name = os.ttyname(follower)
again = os.open(name, os.O_RDWR | os.O_NOCTTY)
lock = multiprocessing.Lock()
made = os.open("/dev/shm/made-inside", os.O_CREAT | os.O_EXCL | os.O_RDWR)
there = "made-inside" in os.listdir("/dev/shm")
print(json.dumps({"errno": 0, "result": [name, os.read(leader, 9).decode(), there]}))
"""


METADATA_OF_OWN_NAMES = """
import json, os, shutil, sys
leader, follower = os.openpty()
os.mkdir("/dev/shm/of-its-own")
os.close(os.open("/dev/shm/of-its-own/file", os.O_CREAT | os.O_WRONLY))
os.chdir(sys.argv[1])
os.symlink("/dev/shm/of-its-own/file", "to-the-file")
os.symlink("/dev/shm/of-its-own", "to-the-directory")
said = []
for place in ("/dev/shm/of-its-own/file", "to-the-file", "to-the-directory/file", os.ttyname(follower)):
    os.chmod(place, 0o600)
    os.chmod(place, 0o640)
    os.chown(place, os.getuid(), -1)
    os.utime(place, (1, len(said)))
    said.append([oct(os.stat(place).st_mode & 0o777), int(os.stat(place).st_mtime)])
shutil.rmtree("/dev/shm/of-its-own")
print(json.dumps({"errno": 0, "result": said}))
"""


def test_what_is_only_there_for_the_session_is_found_by_its_path(masked: Inside) -> None:
    attempt = masked.run([sys.executable, "-c", METADATA_OF_OWN_NAMES, str(masked.workspace)])
    assert attempt.result == [["0o640", count] for count in range(4)], attempt.errors
    assert attempt.refusals("change") == []


def test_terminals_and_shared_memory_are_the_sessions_own(masked: Inside) -> None:
    leader, follower = os.openpty()
    try:
        attempt = masked.run([sys.executable, "-c", OWN_NAMES])
        assert attempt.result == ["/dev/pts/0", "said", True]
        assert not os.path.exists("/dev/shm/made-inside")
        assert masked.do("files.py", "write", os.ttyname(follower) + "0").errno in (errno.ENOENT, errno.EACCES)
    finally:
        os.close(leader)
        os.close(follower)
