"""Observing refuses nothing that a scope could grant, says so everywhere, and keeps what nobody may have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, is_sound, nobody_left, records

import remit
from remit.kernel import landlock
from remit.report.summary import build_report
from remit.report.text import render_text

pytestmark = pytest.mark.skipif(landlock.abi() < 6, reason=f"every wall is wanted, Landlock ABI {landlock.abi()}")

NARROW = "remit: 1\ntask: narrow\nuse: [base]\nfiles: {write: [$TMPDIR], secrets: [~/.ssh]}\nprocesses: {at-most: 2}\n"


@pytest.fixture
def scope(stage: Stage) -> Path:
    path = stage.root / "narrow.yaml"
    path.write_text(NARROW + "otherwise: record\n")
    return path


@pytest.fixture
def peer() -> Iterator[int]:
    """An outsider that listens and says one word to each who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"word\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def observed(stage: Stage, scope: Path, command: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = stage.remit(
        "run", "--observe", "--scope", scope, "--", "bash", "-c", command
    )
    return done


def acts(stage: Stage) -> set[tuple[str, str, str]]:
    """What would have been refused: operation, object, clause."""
    return {(act["operation"], act["object"], act["clause"]) for act in build_report(stage.evidence())["observed"]}


def test_what_the_scope_lacks_goes_on_and_is_told(stage: Stage, scope: Path, peer: int) -> None:
    other = stage.root / "other"
    other.mkdir()
    (other / "old").write_text("old\n")
    (stage.root / "home" / ".ssh").mkdir(parents=True)
    key = stage.root / "home" / ".ssh" / "id_rsa"
    key.write_text("key\n")
    program = stage.workspace / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    work = f"""
set -e
cat {key}; echo new > {other}/new; cat {other}/old; mv {other}/old {other}/moved; mkdir {other}/d; ./program
chmod 640 {other}/new
exec 3<>/dev/tcp/127.0.0.1/{peer}; cat <&3
true | true | true | true
"""
    done = observed(stage, scope, work)
    assert (done.returncode, done.stdout) == (0, "key\nold\nran\nword\n"), done.stderr
    assert sorted(path.name for path in other.iterdir()) == ["d", "moved", "new"]
    assert (other / "new").stat().st_mode & 0o777 == 0o640
    assert {
        ("open", str(key), "files.secrets"),
        ("open", f"{other}/new", "files.write"),
        ("open", f"{other}/old", "files.read"),
        ("rename", f"{other}/old -> {other}/moved", "files.write"),
        ("mkdir", f"{other}/d", "files.write"),
        ("chmod", f"{other}/new", "files.write"),
        ("exec", str(program), "files.execute"),
        ("connect", f"127.0.0.1:{peer}", "network.connect"),
    } <= acts(stage)
    evidence = stage.evidence()
    assert [r for r in records(evidence) if r.get("refused")] == []
    assert all(r["errno"] == 0 for r in records(evidence) if r.get("observed"))
    assert any(r["clause"] == "processes.at-most" for r in records(evidence, "privilege"))
    (finding,) = build_report(evidence)["findings"]
    assert (finding["behaviour"], finding["state"], finding["verdict"]) == ("credential-access", "succeeded", "record")
    is_sound(evidence)
    nobody_left(evidence)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who owns the kernel's settings")
def test_root_is_not_let_change_the_machine(stage: Stage, scope: Path) -> None:
    work = """
echo 1 > /proc/self/oom_score_adj; echo ruled by $? >&2
for place in /proc/sys/kernel/core_pattern /sys/kernel/mm/transparent_hugepage/enabled; do
    : >> $place; echo ruled by $? >&2
done
echo said > /proc/self/fd/1
"""
    done = observed(stage, scope, work)
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("ruled by ")] == ["ruled by 1"] * 3
    refused = {r["path"].partition("/")[2][:4] for r in records(stage.evidence(), "open") if r["refused"]}
    assert refused == {"proc", "sys/"}


def test_every_report_begins_by_saying_so(stage: Stage, scope: Path) -> None:
    assert observed(stage, scope, "true").returncode == 0
    (header,) = records(stage.evidence(), "session")
    assert (header["observe"], header["sight"]) == (True, "full")
    held = {wall["name"]: wall["held"] for wall in header["walls"]}
    assert {name for name, holds in held.items() if not holds} >= {"files", "tcp", "addresses", "processes"}
    assert {name for name, holds in held.items() if holds} >= {"signals", "system-calls", "socket-kinds"}
    assert render_text(build_report(stage.evidence())).startswith("NOTHING WAS ENFORCED")
    assert "NOTHING WAS ENFORCED" in stage.remit("report", "last").stdout


def test_a_scope_is_enforced_unless_it_is_observed(stage: Stage, scope: Path) -> None:
    refused = stage.remit("run", "--scope", scope, "--", "true")
    assert refused.returncode == 121
    assert "only while observing" in refused.stderr
    assert stage.remit("scope", "check", scope).returncode == 121
    assert stage.remit("scope", "check", scope, "--observe").returncode == 0
    scope.write_text(NARROW)
    assert stage.remit("run", "--scope", scope, "--", "sh", "-c", "echo x > x").returncode != 0
    assert stage.remit("run", "--observe", "--scope", scope, "--", "sh", "-c", "echo x > x").returncode == 0


TAMPERING = {
    "close the evidence": "chmod 000 EVIDENCE",
    "remove a segment": "rm -f EVIDENCE/segment-000001.jsonl",
    "cut a segment": ": > EVIDENCE/segment-000001.jsonl",
    "add a segment": "echo x > EVIDENCE/segment-000009.jsonl",
    "move the directory": "mv EVIDENCE EVIDENCE.old",
    "move a directory above": "mv STATE STATE.old",
    "a link into it": "ln -s EVIDENCE e && echo x > e/segment-000001.jsonl",
    "a hard link": "ln EVIDENCE/segment-000001.jsonl hard && echo x > hard",
    "truncate": "truncate -s 0 EVIDENCE/segment-000001.jsonl",
    "a plan for the next run": "echo x > CACHE/plans/x.json",
    "the root of a process": "echo x > /proc/self/root/EVIDENCE/segment-000001.jsonl",
    "the control socket": "cd EVIDENCE && PYTHON -c \"import socket; socket.socket(1).connect('control.sock')\"",
    "its code": "echo x > CODE/errors.py",
}


@pytest.mark.parametrize("way", TAMPERING)
def test_remits_own_stays_remits_own(way: str, stage: Stage, scope: Path) -> None:
    command = (
        TAMPERING[way]
        .replace("PYTHON", sys.executable)
        .replace("STATE", str(stage.root / "state"))
        .replace("CACHE", str(stage.root / "cache" / "remit"))
        .replace("CODE", str(Path(remit.__file__).parent))
        .replace("EVIDENCE", f"{stage.sessions}/$(ls {stage.sessions})")
    )
    done = observed(stage, scope, command)
    assert (done.returncode == 0, "remit: " in done.stderr) == (False, False), done.stderr
    is_sound(stage.evidence())
    assert any(record.get("refused") for record in records(stage.evidence())), "not recorded"


FORBIDDEN = {
    "a user namespace": "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000) == 0)",
    "ptrace": "import ctypes; c = ctypes.CDLL(None); raise SystemExit(c.ptrace(16, OUTSIDER, 0, 0) == 0)",
    "io_uring": "import ctypes; c = ctypes.CDLL(None); raise SystemExit(c.syscall(425, 1, bytes(120)) >= 0)",
    "bpf": "import ctypes; c = ctypes.CDLL(None); raise SystemExit(c.syscall(321, 0, bytes(64), 64) >= 0)",
    "a signal": "import os\ntry: os.kill(OUTSIDER, 10)\nexcept PermissionError: pass\nelse: raise SystemExit(1)",
    "its memory": "\ntry: open('/proc/OUTSIDER/mem', 'rb')\nexcept PermissionError: pass\nelse: raise SystemExit(1)",
    "its environment": "\ntry: open('/proc/OUTSIDER/environ')\nexcept PermissionError: pass\nelse: raise SystemExit(1)",
    "its limits": "import resource\ntry: resource.prlimit(OUTSIDER, 7, (1, 1))\nexcept PermissionError: pass\n"
    "else: raise SystemExit(1)",
    "a datagram socket": "import socket\ntry: socket.socket(2, 2)\nexcept PermissionError: pass\n"
    "else: raise SystemExit(1)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_no_scope_can_grant_stays_refused(what: str, stage: Stage, scope: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "600"], env={"TOKEN": "t"}) as outsider:
        try:
            program = FORBIDDEN[what].replace("OUTSIDER", str(outsider.pid))
            done = stage.remit("run", "--observe", "--scope", scope, "--", sys.executable, "-c", program)
            assert done.returncode == 0, done.stderr
            assert outsider.poll() is None
        finally:
            os.kill(outsider.pid, signal.SIGKILL)


def test_a_budget_is_told_and_does_not_end_the_session(stage: Stage, scope: Path) -> None:
    scope.write_text(NARROW + "otherwise: record\ncompute: {cpu: 100ms}\n")
    # Works until the supervisor has said that the budget is spent, which the agent may read while it is observed.
    program = f"""
import glob, time
begun = time.monotonic()
while time.monotonic() - begun < 30:
    if any('"by":"budget"' in open(path).read() for path in glob.glob("{stage.sessions}/*/segment-*.jsonl")):
        raise SystemExit(0)
raise SystemExit(1)
"""
    done = stage.remit("run", "--observe", "--scope", scope, "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    told = [r for r in records(stage.evidence(), "response") if r["by"] == "budget"]
    assert [(r["verdict"], r["clause"]) for r in told] == [("record", "compute.cpu")]
    assert "it would have been ended here: compute.cpu" in stage.remit("report", "last").stdout


def test_a_suggested_scope_lets_temporary_files_be_made(stage: Stage, scope: Path) -> None:
    assert observed(stage, scope, "true").returncode == 0
    suggested = stage.root / "suggested.yaml"
    assert stage.remit("scope", "suggest", "last", "--output", suggested).returncode == 0
    done = stage.remit("run", "--scope", suggested, "--", "sh", "-c", "mktemp && echo kept > ~/file && cat ~/file")
    assert (done.returncode, done.stderr) == (0, "")
