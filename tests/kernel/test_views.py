"""nested-sandbox: mount: an unchanged sandbox works and its own narrower view holds; nothing lifts the session's."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attacks import SECRET, Inside, Listener, Open, new_workspace

from remit import Session
from remit.boundary.mask_mounts import can_mount

pytestmark = [
    pytest.mark.skipif(os.getuid() == 0, reason="not for root"),
    pytest.mark.skipif(not can_mount(), reason="no user namespace can be had here"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed"),
]
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")
NAMESPACES = ["unshare", "--user", "--map-root-user", "--mount", "--keep-caps"]
SCOPE = """\
remit: 1
task: nested
use: [base, python]
files:
  write: [$WORKSPACE, $TMPDIR]
  read: [{readable}]
  secrets: [.env]
  protect: [repo/hooks]
nested-sandbox: mount
accept-gaps: [proc-writable, files-by-mounts]
"""


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that may only be read."""
    place = tmp_path_factory.mktemp("readable")
    (place / "file").write_text("as it was")
    (place / "program").write_text("#!/bin/sh\necho ran")
    (place / "program").chmod(0o755)
    return place


@pytest.fixture(scope="module")
def view(readable: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    scope = tmp_path_factory.mktemp("scope") / "scope.yaml"
    scope.write_text(SCOPE.format(readable=readable))
    workspace = new_workspace(tmp_path_factory)
    (workspace / "repo/hooks").mkdir(parents=True)
    (workspace / "repo/hooks/pre-commit").write_text("as it was")
    (workspace / ".env").write_text(SECRET)
    (workspace / "granted").mkdir()
    with Session(scope, workspace=workspace) as session:
        yield Inside(session, workspace)
    assert (workspace / ".env").read_text() == SECRET
    assert (workspace / "repo/hooks/pre-commit").read_text() == "as it was"
    assert (readable / "file").read_text() == "as it was"
    assert sorted(os.listdir(readable)) == ["file", "program"]


def test_only_what_is_granted_is_there(view: Inside, home: Path, outside: Path, readable: Path) -> None:
    for path in (home / ".ssh" / "id_ed25519", outside / "file"):
        assert view.do("files.py", "read", path).errno == errno.ENOENT
        attempt = view.do("files.py", "write", path)
        assert attempt.errno == errno.ENOENT
        (record,) = attempt.refusals("open", path=str(path))
        assert (record["errno"], record["wall"]) == (errno.ENOENT, "files")
    attempt = view.do("files.py", "write", readable / "file")
    assert attempt.errno == errno.EROFS
    assert len(attempt.refusals("open", path=str(readable / "file"), errno=errno.EROFS)) == 1
    assert view.run([str(readable / "program")]).status == 126
    assert view.run(["sh", "-c", "echo x > /planted"]).status != 0
    made = view.run(["sh", "-c", "echo made > made && cat made && rm made && python3 -c 'import ssl, socket'"])
    assert (made.status, made.errors) == (0, "")


ATTACKS = {
    "lift the mask": "umount .env || umount -l .env",
    "lift the protection": "umount repo/hooks || mount -o remount,bind,rw repo/hooks",
    "move the mask away": "mkdir -p $TMPDIR/m && mount --move .env $TMPDIR/m",
    "look beneath by a bind": "mkdir -p $TMPDIR/b && mount --bind . $TMPDIR/b && grep . $TMPDIR/b/.env",
    "look beneath by all mounts": "mkdir -p $TMPDIR/r && mount --rbind . $TMPDIR/r && grep . $TMPDIR/r/.env",
    "lift it there": "mkdir -p $TMPDIR/s && mount --rbind . $TMPDIR/s && umount -l $TMPDIR/s/.env"
    " && grep . $TMPDIR/s/.env",
    "look beneath by an overlay": "mkdir -p $TMPDIR/u $TMPDIR/w $TMPDIR/o && "
    "mount -t overlay -o lowerdir=$PWD,upperdir=$TMPDIR/u,workdir=$TMPDIR/w o $TMPDIR/o && grep . $TMPDIR/o/.env",
    "write what may be read": "mount -o remount,bind,rw {readable} && echo x > {readable}/planted",
    "write it by a bind": "mkdir -p $TMPDIR/x && mount --bind {readable} $TMPDIR/x && "
    "mount -o remount,bind,rw $TMPDIR/x; echo x > $TMPDIR/x/planted",
    "run it by a bind": "mkdir -p $TMPDIR/y && mount --bind {readable} $TMPDIR/y && "
    "mount -o remount,bind,exec $TMPDIR/y; $TMPDIR/y/program",
    "take the root away": "umount -l /; cat {secret}",
    "another root": "mkdir -p $TMPDIR/n/old && mount --rbind / $TMPDIR/n && pivot_root $TMPDIR/n $TMPDIR/n/old; "
    "umount -l /old; cat {secret}",
    "out of a root": "mkdir -p $TMPDIR/c && chroot / sh -c 'cd ../../../../..; cat .{secret}'",
    "by an outsider's root": "cat /proc/{outsider}/root{secret}",
    "by the supervisor's root": "cat /proc/{supervisor}/root{secret}",
    "join an outsider": "nsenter --mount=/proc/{outsider}/ns/mnt cat {secret}",
    "all of /sys": "mount -t sysfs none $TMPDIR && ls $TMPDIR/kernel",
    "the cgroups": "mount -t cgroup2 none $TMPDIR",
    "a cgroup namespace": "unshare --cgroup true",
    "write the root": "mount -o remount,rw / && echo x > /planted",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_namespace_made_inside_lifts_nothing(
    view: Inside, name: str, home: Path, readable: Path, outsider: int
) -> None:
    assert view.run(["true"]).status == 0
    words = {"secret": home / ".ssh/id_ed25519", "readable": readable, "outsider": outsider}
    command = ATTACKS[name].format(**words, supervisor=view.header()["supervisor"])
    attempt = view.run([*NAMESPACES, "sh", "-c", f"{command} > $TMPDIR/said"])
    said = view.run(["sh", "-c", "cat $TMPDIR/said >&2; rm -f $TMPDIR/said"]).errors
    assert attempt.status != 0, attempt.errors
    assert SECRET not in attempt.errors + said
    assert "ran" not in said.split()


def test_the_supervisor_and_the_rest_of_proc_stay_out_of_reach(view: Inside, outsider: int) -> None:
    assert view.run(["true"]).status == 0
    header = view.header()
    for pid in (header["supervisor"], header["zygote"], header["deputy"]):
        for name in ("oom_score_adj", "mem", "comm", "clear_refs"):
            attempt = view.do("files.py", "write", f"/proc/{pid}/{name}")
            assert attempt.errno in (errno.EACCES, errno.EPERM), (pid, name)
    for name in ("sys/kernel/core_pattern", "sys/kernel/hostname", f"{outsider}/mem"):
        assert view.do("files.py", "write", f"/proc/{name}").errno in (errno.EACCES, errno.EPERM), name


OPEN_TREES = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
said = []
for flags in (1, 1 | 0x8000):  # OPEN_TREE_CLONE, AT_RECURSIVE
    tree = libc.syscall(428, -100, os.fsencode(sys.argv[1]), flags)
    error = ctypes.get_errno() if tree < 0 else 0
    held = os.read(os.open(".env", os.O_RDONLY, dir_fd=tree), 99).decode() if tree >= 0 else ""
    said.append([error, held])
print(json.dumps({"errno": 0, "result": said}))
"""


def test_a_copy_of_mounts_that_hangs_nowhere_has_the_masks(view: Inside) -> None:
    attempt = view.run([*NAMESPACES, sys.executable, "-c", OPEN_TREES, str(view.workspace)])
    assert attempt.result == [[errno.EINVAL, ""], [0, ""]], attempt.errors


def test_a_link_leads_where_it_leads_inside(view: Inside, home: Path) -> None:
    (view.workspace / "to-a-secret").symlink_to(home / ".ssh/id_ed25519")
    (view.workspace / "to-nothing-yet").symlink_to(home / "planted")
    (view.workspace / "to-what-is-made").symlink_to(view.workspace / "made-by-link")
    for name, target in (("to-a-secret", ".ssh/id_ed25519"), ("to-nothing-yet", "planted")):
        attempt = view.run(["sh", "-c", f"echo x > {name}"])
        assert attempt.status != 0
        assert len(attempt.refusals("open", path=str(home / target))) == 1, attempt.records
    attempt = view.run(
        ["sh", "-c", "echo x > to-what-is-made; echo y > /proc/self/cwd/to-what-is-made; echo z >/dev/stderr"]
    )
    written = [record["path"] for record in attempt.records if record["kind"] == "open"]
    assert written[:2] == [f"{view.workspace}/made-by-link"] * 2
    assert not attempt.refusals("open")


def test_mounts_can_be_made_there_at_all(view: Inside) -> None:
    command = "mount -t tmpfs none $TMPDIR && echo x > $TMPDIR/x && mount --bind granted repo && ls repo"
    attempt = view.run([*NAMESPACES, "sh", "-c", command])
    assert (attempt.status, attempt.errors) == (0, "")


def test_without_a_namespace_nothing_is_mounted(view: Inside) -> None:
    for command in ("mount -t tmpfs none $TMPDIR", "umount .env", "mount --bind granted repo", "umount -l /proc"):
        assert view.run(["sh", "-c", command]).status != 0, command


def test_a_cgroup_namespace_is_refused_by_name(view: Inside) -> None:
    attempt = view.run(["unshare", "--user", "--cgroup", "true"])
    assert attempt.status != 0
    assert len(attempt.refusals("privilege", operation="unshare")) == 1


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_standard_stream_from_outside_leads_nowhere(view: Inside, outside: Path, kind: str) -> None:
    """/proc/self/fd/0 can be opened again for writing, or be a way to everything beside it."""
    descriptor = os.open(outside / "file" if kind == "file" else outside, os.O_RDONLY)
    with view.session.step(f"a {kind}", tool="attack"):
        program = view.session.popen(["sh", "-c", "echo x > /proc/self/fd/0"], stdin=descriptor, stderr=subprocess.PIPE)
        os.close(descriptor)
        said = program.communicate(timeout=60)[1]
    assert program.returncode == 126
    assert b"opened outside the session's view" in said
    assert (outside / "file").read_text() == SECRET


@needs_bwrap
@pytest.mark.parametrize(
    "words",
    [
        [
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--unshare-pid",
            "--die-with-parent",
            "--new-session",
        ],
        ["--bind", "/", "/", "--unshare-user", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-pid"],
        [
            *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
            *("--symlink", "usr/lib64", "/lib64", "--tmpfs", "/tmp", "--chdir", "/usr"),
        ],
    ],
)
def test_an_unchanged_bubblewrap_works(view: Inside, words: list[str]) -> None:
    attempt = view.run(["bwrap", *words, "sh", "-c", "echo works >&2"])
    assert (attempt.status, attempt.errors) == (0, "works\n")


@needs_bwrap
def test_its_own_narrower_view_holds(view: Inside) -> None:
    workspace = view.workspace
    (workspace / "granted/file").write_text("as it was")
    (workspace / "granted/file").chmod(0o600)
    for command in (
        "echo x > granted/file",
        "chmod 644 granted/file",
        "touch -d 2020-01-01 granted/file",
        "rm granted/file",
    ):
        assert view.run(["bwrap", "--ro-bind", "/", "/", "sh", "-c", command]).status != 0, command
    hidden = ["bwrap", "--bind", "/", "/", "--tmpfs", f"{workspace}/granted", "sh", "-c"]
    for command in ("cat granted/file", "chmod 644 granted/file"):
        assert view.run([*hidden, command]).status != 0, command
    own = view.run([*hidden, "echo x > granted/file && chmod 644 granted/file && ls -l granted/file >&2"])
    assert own.errors.startswith("-rw-r--r--")
    assert (workspace / "granted/file").read_text() == "as it was"
    assert (workspace / "granted/file").stat().st_mode & 0o777 == 0o600


@needs_bwrap
def test_evidence_has_the_true_names(view: Inside, readable: Path) -> None:
    """Whatever a sandbox calls it: what is bound over another name is told by its own."""
    workspace = view.workspace
    shutil.copy("/usr/bin/true", workspace / "own")
    bind = ["bwrap", "--ro-bind", "/", "/", "--bind", f"{workspace}/granted", str(readable)]
    bind += ["--bind", f"{workspace}/own", "/usr/bin/id"]
    attempt = view.run(
        [*bind, "sh", "-c", f"echo x > {readable}/new; chmod 600 {readable}/new; cd {readable}; echo x >> new; id"]
    )
    written = [record for record in attempt.records if record["kind"] == "open" and record["asked"].endswith("new")]
    assert [record["path"] for record in written] == [f"{workspace}/granted/new"] * 2
    images = [record["image"] for record in attempt.records if record["kind"] == "exec"]
    assert f"{workspace}/own" in images
    assert "/usr/bin/id" not in images
    refused = view.run(
        [
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--bind",
            str(readable),
            f"{workspace}/granted",
            "chmod",
            "600",
            "granted/file",
        ]
    )
    assert refused.status != 0
    assert len(refused.refusals("change", operation="chmod", path=str(readable / "file"))) == 1


@needs_bwrap
def test_a_loader_under_another_name_is_one(view: Inside) -> None:
    loader = next(Path(name) for name in ("/lib64/ld-linux-x86-64.so.2",)).resolve()
    bind = ["bwrap", "--bind", "/", "/", "--ro-bind", str(loader), f"{view.workspace}/own-name"]
    (view.workspace / "own-name").touch()
    attempt = view.run([*bind, f"{view.workspace}/own-name", "/usr/bin/true"])
    assert attempt.status != 0
    assert len(attempt.refusals("exec", image=str(loader))) == 1


CONNECT = """
import json, socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
    print(json.dumps({"errno": 0}))
except OSError as problem:
    print(json.dumps({"errno": problem.errno}))
"""


@needs_bwrap
def test_no_socket_is_reached_under_another_name(view: Inside, listen: Callable[..., Listener]) -> None:
    path = f"{view.workspace}/granted/of-an-outsider"
    outsider = listen(socket.AF_UNIX, path)
    for words in (
        ["bwrap", "--bind", "/", "/"],
        ["bwrap", "--bind", "/", "/", "--bind", path, f"{view.workspace}/own-name"],
        [],
    ):
        for name in (path, f"{view.workspace}/own-name"):
            attempt = view.run([*words, sys.executable, "-c", CONNECT, name])
            assert attempt.errno in (errno.EACCES, errno.ECONNREFUSED), (words, name, attempt.errors)
    assert not outsider.reached()
    os.unlink(path)


def test_a_granted_socket_full_sight_and_phases(
    open_session: Open, listen: Callable[..., Listener], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("served") / "socket")
    outsider = listen(socket.AF_UNIX, path)
    mount = "nested-sandbox: mount\naccept-gaps: [proc-writable, files-by-mounts]\n"
    phases = "phases: {fetch: {network: {connect: [{cidr: 127.0.0.1, port: 9}]}}}\n"
    session = open_session(f"{mount}{phases}network: {{unix: [{path}]}}\n", sight="full")
    attempt = session.run([sys.executable, "-c", CONNECT, path])
    assert (attempt.errno, outsider.reached()) == (0, True), attempt.errors
    secret = home / ".ssh/id_ed25519"
    attempt = session.do("files.py", "read", secret)
    assert attempt.errno == errno.ENOENT
    assert len(attempt.refusals("open", path=str(secret), errno=errno.ENOENT)) == 1
    attempt = session.run([*NAMESPACES, "sh", "-c", "mount -t tmpfs none $TMPDIR"])
    assert (attempt.status, attempt.errors) == (0, "")


CONNECT_BY_ROOT = """
import json, os, socket, subprocess, sys
other, granted = sys.argv[1:]
words = ["bwrap", "--bind", "/", "/", "--bind", other, granted, "sh", "-c", "echo $$; exec sleep 60"]
inside = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
pid = inside.stdout.readline().strip()
said = []
for name in (granted, f"/proc/{pid}/root{granted}"):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        said.append(0)
    except OSError as problem:
        said.append(problem.errno)
os.kill(int(pid), 9)
inside.wait()
print(json.dumps({"errno": 0, "result": said}))
"""


@needs_bwrap
def test_a_granted_name_in_a_sandboxes_mounts_is_no_grant(
    open_session: Open, listen: Callable[..., Listener], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By /proc/PID/root of a program with mounts of its own, another socket stands under a granted name."""
    path = str(tmp_path_factory.mktemp("served") / "socket")
    listen(socket.AF_UNIX, path)
    mount = "nested-sandbox: mount\naccept-gaps: [proc-writable, files-by-mounts]\n"
    session = open_session(f"{mount}network: {{unix: [{path}]}}\n")
    other = f"{session.workspace}/of-another"
    outsider = listen(socket.AF_UNIX, other)
    attempt = session.run([sys.executable, "-c", CONNECT_BY_ROOT, other, path])
    assert attempt.result == [0, errno.EACCES], attempt.errors
    assert not outsider.reached()
