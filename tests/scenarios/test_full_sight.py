"""In full sight every refused read is on record, by whatever way it was tried, and who reached for a key is found."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from stage import Stage, is_sound, nobody_left, objections, records

import remit
from remit.kernel import landlock
from remit.report.summary import build_report

pytestmark = pytest.mark.skipif(landlock.abi() < 3, reason=f"needs Landlock ABI 3, this is {landlock.abi()}")

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"

PYTHON = f"{sys.executable} -c"
WAYS = {
    "cat": "cat KEY",
    "a renamed tool": "cp $(command -v cat) ./notes; ./notes KEY",
    "a symbolic link": "ln -s KEY harmless.txt; cat harmless.txt",
    "a link to the directory": "ln -s DIRECTORY d; cat d/id_ed25519",
    "dots": "cat /usr/../KEY",
    "the root of a process": "cat /proc/self/root/KEY",
    "from inside": "cd / && cat ./KEY",
    "python": f"{PYTHON} \"print(open('KEY').read())\"",
    "a directory descriptor": f"{PYTHON} \"import os; print(os.open('./KEY', 0, dir_fd=os.open('/', os.O_PATH)))\"",
    "openat2": f"{PYTHON} \"import ctypes; done = ctypes.CDLL(None).syscall(437, -100, b'KEY', bytes(24), 24); "
    'raise SystemExit(done < 0)"',
    "a copy": "cp KEY x",
    "an archive": "tar -cf x.tar KEY",
    "encoded": "base64 KEY",
    "a redirection": "read line < KEY && echo $line",
    "a hard link": "ln KEY x && cat x",
    "a rename": "mv KEY x && cat x",
}


@pytest.fixture
def key(stage: Stage) -> Path:
    directory = stage.root / "home" / ".ssh"
    directory.mkdir(mode=0o700, parents=True)
    key = directory / "id_ed25519"
    key.write_text(KEY)
    key.chmod(0o600)
    return key


def told(command: str, key: Path) -> list[str]:
    return ["bash", "-c", command.replace("KEY", str(key)).replace("DIRECTORY", str(key.parent))]


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_out_of_reach_and_who_reached_is_found(way: str, stage: Stage, key: Path) -> None:
    done = stage.remit("run", "--sight", "full", "--", *told(WAYS[way], key))
    assert done.returncode != 0
    assert KEY.strip() not in done.stdout
    evidence = stage.evidence()
    touched = [r for r in records(evidence, "open", "change") if str(key) in (r["path"], r.get("source"))]
    assert touched, "not recorded"
    assert all(r["refused"] and r["predicted"] for r in touched)
    (finding, *_) = [f for f in build_report(evidence)["findings"] if f["behaviour"] == "credential-access"]
    assert (finding["state"], finding["severity"], finding["origin"]["who"]) == ("attempted", "high", "agent")
    assert key.read_text() == KEY
    is_sound(evidence)
    nobody_left(evidence)


def test_another_processs_environment_is_out_of_reach(stage: Stage) -> None:
    done = stage.remit("run", "--sight", "full", "--", "sh", "-c", "cat /proc/self/environ > mine; cat /proc/1/environ")
    assert done.returncode != 0
    (refused,) = [r for r in records(stage.evidence(), "open") if r["refused"]]
    assert (refused["path"], refused["outsider"]) == ("/proc/1/environ", True)
    assert [f["behaviour"] for f in build_report(stage.evidence())["findings"]] == ["credential-access"]


def test_the_header_and_the_gaps_say_what_can_be_seen(stage: Stage) -> None:
    for sight, unseen in (("normal", True), ("full", False)):
        evidence = stage.root / sight
        assert stage.remit("run", "--sight", sight, "--evidence", evidence, "--", "true").returncode == 0
        (header,) = records(evidence, "session")
        assert header["sight"] == sight
        assert ("reads-unseen" in {gap["name"] for gap in header["gaps"]}) is unseen


def test_in_normal_sight_the_failure_of_who_was_told_is_a_weak_sign(stage: Stage, key: Path) -> None:
    assert stage.remit("run", "--", "cat", key).returncode == 1
    assert [r for r in records(stage.evidence(), "open") if r["path"] == str(key)] == []
    (finding,) = build_report(stage.evidence())["findings"]
    assert (finding["behaviour"], finding["severity"]) == ("credential-access", "low")


def test_in_normal_sight_a_write_is_seen(stage: Stage, key: Path) -> None:
    assert stage.remit("run", "--", "sh", "-c", f"echo x >> {key}").returncode != 0
    (finding,) = build_report(stage.evidence())["findings"]
    assert (finding["behaviour"], finding["severity"], finding["state"]) == ("credential-access", "high", "attempted")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")
def test_ssh_that_looks_for_its_own_is_no_finding(stage: Stage, key: Path) -> None:
    options = ["-F", str(key.parent / "config"), "-i", str(key), "-o", "BatchMode=yes"]
    (key.parent / "config").write_text("Host far\n  Hostname 127.0.0.1\n")
    # Told by name it is a sign, and a weaker one than for anybody else; without, it is ssh being ssh.
    stage.remit("run", "--sight", "full", "--evidence", stage.root / "told", "--", "ssh", *options, "-G", "far")
    plain = stage.remit("run", "--sight", "full", "--evidence", stage.root / "plain", "--", "ssh", "-G", "far")
    assert plain.returncode == 0, plain.stderr
    assert {f["severity"] for f in build_report(stage.root / "told")["findings"]} <= {"medium"}
    assert build_report(stage.root / "plain")["findings"] == []


def test_searches_and_granted_reads_are_no_refusals(stage: Stage) -> None:
    (stage.workspace / "a.txt").write_text("a\n")
    (stage.workspace / "b.txt").write_text("b\n")
    work = "cat a.txt b.txt nothing; ls /nonexistent; env -i perl -e 'require nothing::here'; cat a.txt; true"
    done = stage.remit("run", "--sight", "full", "--", "bash", "-c", work)
    assert done.returncode == 0
    assert objections(stage.evidence()) == []
    read = [r for r in records(stage.evidence(), "open") if r["flags"] & 3 == 0]
    assert {r["clause"] for r in read} <= {"files.write[0]", "files.write[1]"}  # the scope's own grants, not presets'
    by_cat = [r["path"].rpartition("/")[2] for r in read if r["path"].endswith(".txt")]
    assert by_cat == ["a.txt", "a.txt"]  # once for each program and grant


def test_each_step_has_its_own_first_read(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").write_text("a\n")
    program = "while read line; do read text < a.txt; echo read; done"
    with remit.Session(workspace=workspace, evidence=tmp_path / "evidence", sight="full") as session:
        shell = session.popen(["sh", "-c", program], stdin=-1, stdout=-1, text=True)
        for step in ("one", "two"):
            with session.step(step, tool="shell"):
                shell.stdin.write("go\n")
                shell.stdin.flush()
                assert shell.stdout.readline() == "read\n"
        shell.stdin.close()
        assert shell.wait() == 0
    read: list[dict[str, Any]] = [r for r in records(tmp_path / "evidence", "open") if r["path"].endswith("a.txt")]
    assert len(read) == 2


def test_changes_of_names_are_recorded(stage: Stage) -> None:
    outside = stage.root / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    work = f"mkdir d; rmdir d; rm {outside}/file; mkdir {outside}/d; mv {outside}/file m; ln -s x {outside}/l"
    stage.remit("run", "--sight", "full", "--", "bash", "-c", work)
    refused = {(r["operation"], r["path"]) for r in records(stage.evidence(), "change") if r["refused"]}
    assert {("unlink", f"{outside}/file"), ("mkdir", f"{outside}/d"), ("symlink", f"{outside}/l")} <= refused
    assert ("rename", str(stage.workspace / "m")) in refused
    assert [p.name for p in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "kept"
    granted = {r["operation"] for r in records(stage.evidence(), "change") if not r["refused"]}
    assert granted == {"mkdir", "rmdir"}


def test_landlock_decides_what_the_record_only_predicts(stage: Stage, key: Path) -> None:
    """A path that another thread keeps swapping while it is asked about never yields the key."""
    program = f"""
import ctypes, os, threading
buffer = ctypes.create_string_buffer(256)
good, bad = b"{stage.workspace}/good", b"{key}"
stop = []
def swap():
    while not stop:
        buffer.value = good; buffer.value = bad
thread = threading.Thread(target=swap); thread.start()
libc = ctypes.CDLL(None, use_errno=True); seen = set()
for _ in range(2000):
    number = libc.open(buffer, 0)
    if number >= 0:
        seen.add(os.read(number, 64)); os.close(number)
stop.append(1); thread.join()
print(sorted(seen))
"""
    (stage.workspace / "good").write_text("good")
    done = stage.remit("run", "--sight", "full", "--", sys.executable, "-c", program)
    assert done.stdout == "[b'good']\n"
    is_sound(stage.evidence())
