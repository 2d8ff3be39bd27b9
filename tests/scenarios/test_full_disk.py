"""A real disk runs full under a real session: it ends in good order, or goes on and says what it lost. Never silent.

The disk is a small tmpfs in a user and mount namespace, so that any user can have one; inside, a helper fills it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from stage import REMIT, Stage, ended, is_sound, records, wait_for

from remit.boundary.host import find_host
from remit.errors import EvidenceError
from remit.evidence.chain import verify
from remit.report.summary import build_report

pytestmark = pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")

# Long arguments, so that some hundred rounds fill what is set aside. Each round leaves a byte in the workspace.
BUSY = ["sh", "-c", "while [ ! -e stop ]; do /bin/true $1; printf x >> rounds; done; exit 7", "sh", "x" * 20_000]

# Runs in the namespaces: mounts the disk, fills it and empties it as told, and says how the session ended.
INSIDE = """\
import json, os, subprocess, sys
disk, scope, remit, command = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
run = subprocess.Popen([*remit, "run", "--scope", scope, "--evidence", f"{disk}/evidence", "--", *command],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("mounted", flush=True)
for word in sys.stdin:
    if word == "fill\\n":
        with open(f"{disk}/filler", "wb", 0) as filler:
            try:
                while True:
                    filler.write(b"x" * 65536)
            except OSError:
                pass
        print("filled", flush=True)
    elif word == "free\\n":
        os.unlink(f"{disk}/filler")
        print("freed", flush=True)
    elif word == "wait\\n":
        print(run.wait(), flush=True)
run.kill()
"""


class Disk:
    """A session whose evidence lies on a small disk."""

    def __init__(self, stage: Stage, when_full: str, command: list[str]) -> None:
        mount = stage.root / "disk"
        mount.mkdir()
        scope = stage.root / "scope.yaml"
        lines = (
            "remit: 1",
            "task: t",
            "files: {write: [$WORKSPACE, $TMPDIR]}",
            f"evidence: {{when-full: {when_full}}}",
        )
        scope.write_text("\n".join(lines))
        self.process = subprocess.Popen(
            ["unshare", "-Urm", sys.executable, "-c", INSIDE, mount, scope, json.dumps(REMIT), *command],
            cwd=stage.workspace, env=stage.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.evidence = Path(f"/proc/{self.process.pid}/root{mount}/evidence")
        if self._line() != "mounted":
            self.process.kill()
            self.process.wait()
            pytest.skip("this user may not mount a tmpfs in namespaces of its own")

    def do(self, word: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._line()

    def count(self) -> int:
        try:
            return len(records(self.evidence))
        except EvidenceError:
            return 0  # not there yet

    def fill(self) -> int:
        """Fill it once the session is under way; returns how many records there were then."""
        wait_for(lambda: self.count() > 50, "records")
        assert self.do("fill") == "filled"
        return self.count()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.evidence.glob("segment-*"))

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *problem: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def test_a_full_disk_ends_the_session_in_good_order(stage: Stage) -> None:
    with Disk(stage, "end", BUSY) as disk:
        before = disk.fill()
        assert disk.do("wait") == "119"
        (end,) = records(disk.evidence, "end")
        assert (end["exit_source"], end["ended_by"]) == ("remit", "evidence.when-full")
        # What was set aside was used: much went on to be recorded after the disk was full.
        assert disk.count() > before + 100
        is_sound(disk.evidence)
        assert verify(disk.evidence).unsigned == 0


def rounds_unrecorded(stage: Stage, disk: Disk) -> bool:
    """Whether the agent goes on and nothing of it is recorded."""
    rounds = stage.workspace / "rounds"
    size, before = disk.size(), rounds.stat().st_size
    wait_for(lambda: rounds.stat().st_size > before + 10, "more rounds")
    return disk.size() == size


def test_a_marked_session_goes_on_and_records_its_losses_when_there_is_space(stage: Stage) -> None:
    with Disk(stage, "mark", BUSY) as disk:
        disk.fill()
        wait_for(lambda: rounds_unrecorded(stage, disk), "the end of what was set aside", 60)
        assert records(disk.evidence, "loss") == []
        assert disk.do("free") == "freed"
        wait_for(lambda: records(disk.evidence, "loss"), "the record of the losses")
        number = disk.count()
        wait_for(lambda: disk.count() > number + 50, "records as before")
        (stage.workspace / "stop").touch()
        assert disk.do("wait") == "7"
        is_sound(disk.evidence)
        lost = {record["class"]: record for record in records(disk.evidence, "loss")}
        assert {"fork", "exec", "exit"} <= set(lost)
        assert all(record["count"] > 0 and record["since"] < record["time"] for record in lost.values())
        report = build_report(disk.evidence)
        assert report["lost"] == {name: record["count"] for name, record in lost.items()}
        assert report["session"]["closed"]


def test_a_marked_session_that_ends_on_a_full_disk_is_closed(stage: Stage) -> None:
    with Disk(stage, "mark", BUSY) as disk:
        disk.fill()
        wait_for(lambda: rounds_unrecorded(stage, disk), "the end of what was set aside", 60)
        (stage.workspace / "stop").touch()
        assert disk.do("wait") == "7"
        is_sound(disk.evidence)
        assert records(disk.evidence, "loss")
        assert verify(disk.evidence).unsigned == 0


HARNESS = """\
import json, sys, time, remit
scope, evidence, report = sys.argv[1:]
with remit.Session(workspace=".", scope=scope, evidence=evidence) as session:
    with session.step("before", tool="bash"):
        session.run(["/bin/true"])
    print("before", flush=True)
    sys.stdin.readline()
    with session.step("meanwhile", tool="bash"):
        session.run(["/bin/true"])
        session.run(["/bin/true"])
    print("meanwhile", flush=True)
    sys.stdin.readline()
    with session.step("after", tool="bash"):
        session.run(["/bin/true"])
"""


def test_the_steps_in_which_records_were_lost_are_unknown_and_the_others_are_not(stage: Stage) -> None:
    """The disk is full by decree here: no file of the supervisor's may grow any more."""
    scope, evidence = stage.root / "scope.yaml", stage.root / "evidence"
    scope.write_text("remit: 1\ntask: t\nfiles: {write: [$WORKSPACE, $TMPDIR]}\nevidence: {when-full: mark}\n")
    process = subprocess.Popen(
        [sys.executable, "-c", HARNESS, scope, evidence, "report"],
        cwd=stage.workspace, env=stage.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with ended(process):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "before\n"
        (header,) = records(evidence, "session")
        size = sum(path.stat().st_size for path in evidence.glob("segment-*"))
        unlimited = resource.prlimit(header["supervisor"], resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        wait_for(lambda: (evidence / "segment-000001.jsonl").stat().st_size == size + 100, "the last byte")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "meanwhile\n"
        resource.prlimit(header["supervisor"], resource.RLIMIT_FSIZE, unlimited)
        wait_for(lambda: records(evidence, "loss"), "the record of the losses")
        process.stdin.write("\n")
        process.stdin.close()
        process.stdin = None
        assert process.wait(30) == 0
    is_sound(evidence)
    states = {step["id"]: (step["state"], step["lost"] > 0) for step in build_report(evidence)["steps"]}
    assert states == {
        "before": ("in-scope", False),
        "meanwhile": ("unknown", True),
        "after": ("in-scope", False),
    }


def test_a_file_that_may_not_grow_ends_the_session_too(stage: Stage) -> None:
    evidence = stage.root / "evidence"
    with ended(stage.start("run", "--evidence", evidence, "--", *BUSY)) as run:
        wait_for(lambda: evidence.exists() and len(records(evidence)) > 20, "records")
        (header,) = records(evidence, "session")
        resource.prlimit(header["supervisor"], resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        _, said = run.communicate(timeout=30)
    assert run.returncode == 119
    assert "cannot write evidence in" in said
    assert verify(evidence).whole
    assert not verify(evidence).closed
