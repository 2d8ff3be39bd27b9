"""Claims of real processes fill gaps as likely; lies, floods and swapped sockets change no proven step."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stage import REMIT, Stage, charged, ended, is_sound, recorded, records, wait_for

import remit
from remit.claims import CLAIMS_VARIABLE
from remit.report.summary import build_report

# claim.py WORD...: a claim for each word, MARK:STEP, and a command that is run for each `run:NAME`.
CLAIM = """\
import json, os, socket, subprocess, sys
end = socket.socket(socket.AF_UNIX)
end.connect(os.environ["REMIT_CLAIMS"])
for word in sys.argv[1:]:
    mark, _, rest = word.partition(":")
    if mark == "run":
        subprocess.run(["/usr/bin/touch", rest], check=True)
    else:
        end.sendall(json.dumps({"mark": mark, "step": rest, "tool": "bash", "source": "test"}).encode() + b"\\n")
"""


def scope(stage: Stage) -> Path:
    place = stage.root / "scope.yaml"
    wanted: dict[str, Any] = {
        "remit": 1, "task": "claims", "use": ["base", "python"], "claims": ["socket"],
        "files": {"write": ["$WORKSPACE", "$TMPDIR"]},
    }  # fmt: skip
    place.write_text(json.dumps(wanted))
    (stage.workspace / "claim.py").write_text(CLAIM)
    return place


def opened(evidence: Path) -> dict[str, tuple[str | None, str]]:
    """What each file that was made in the workspace is charged to."""
    return {
        Path(record["path"]).name: (attribution.step, attribution.attribution)
        for record, attribution in charged(evidence)
        if record["kind"] == "open" and not record["refused"]
    }


def test_claims_fill_gaps_as_likely(stage: Stage) -> None:
    words = ["run:before", "begin:t1", "run:one", "end:t1", "run:between", "begin:t2", "run:two", "end:t2"]
    done = stage.remit("run", "--scope", scope(stage), "--", "python3", "claim.py", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = opened(stage.evidence())
    assert (found["one"], found["two"]) == (("claim:t1", "likely"), ("claim:t2", "likely"))
    assert found["before"] == found["between"] == (None, "unknown")
    claimed = records(stage.evidence(), "claim")
    (python,) = {record["process"] for record in claimed}
    assert [record["mark"] for record in claimed] == ["begin", "end"] * 2
    assert python in {record["process"] for record in records(stage.evidence(), "exec")}
    (connection,) = recorded(stage.evidence(), "connect", clause="claims")
    assert connection["refused"] is False
    report = build_report(stage.evidence())
    assert [(said["id"], said["heeded"], said["event_count"] > 0) for said in report["claims"]] == [
        ("claim:t1", True, True), ("claim:t2", True, True),
    ]  # fmt: skip
    assert (report["denials"], report["lost"]) == ([], {})
    is_sound(stage.evidence())
    assert not list(Path("/tmp").glob(f"remit-{report['session']['id']}*"))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the outer filter is written for x86-64")
def test_in_a_container_that_lets_nobody_take_sockets_too(stage: Stage) -> None:
    outer = (sys.executable, Path(__file__).with_name("outer_filter.py"), *REMIT)
    words = ("run", "--scope", scope(stage), "--", "python3", "claim.py", "begin:t1", "run:one", "end:t1")
    done = subprocess.run([*outer, *words], cwd=stage.workspace, env=stage.environment, timeout=60, check=False)
    assert done.returncode == 0
    assert opened(stage.evidence())["one"] == ("claim:t1", "likely")
    is_sound(stage.evidence())


def test_without_the_key_there_is_no_socket(stage: Stage) -> None:
    done = stage.remit("run", "--", "sh", "-c", f'echo "[${CLAIMS_VARIABLE}]"; ls -d "$TMPDIR".*')
    assert done.stdout == "[]\n"


def test_false_claims_change_no_proven_step(stage: Stage) -> None:
    """A background job of step 1 says that step 2 is over, and that it is step 2, while step 2 works."""
    with remit.Session(scope(stage), workspace=stage.workspace) as session:
        with session.step("s1", tool="bash"):
            job = "until [ -e go ]; do sleep 0.01; done; python3 claim.py begin:s2 end:s2 begin:s3 run:job; touch done"
            session.run(["sh", "-c", f"({job}) >/dev/null 2>&1 &"])
        with session.step("s2", tool="bash"):
            session.run(["sh", "-c", "touch go; until [ -e done ]; do sleep 0.01; done; touch work"])
        session.run(["touch", "gap"])
    found = opened(session.evidence)
    assert (found["job"], found["work"]) == (("s1", "proven"), ("s2", "proven"))
    assert found["gap"] == (None, "unknown")  # who claims s3 is charged to a step: it cannot speak for others
    said = {item["id"]: (item["same_id_as_step"], item["heeded"]) for item in build_report(session.evidence)["claims"]}
    assert said == {"claim:s2": ("s2", False), "claim:s3": (None, False)}
    is_sound(session.evidence)


def insist(end: socket.socket, line: bytes) -> None:
    while True:
        end.sendall(line)


def test_an_outsider_of_the_same_user_is_refused(stage: Stage) -> None:
    command = ("sh", "-c", "echo $REMIT_CLAIMS; exec sleep 60")
    with ended(stage.start("run", "--scope", scope(stage), "--", *command)) as process:
        assert process.stdout is not None
        place = process.stdout.readline().strip()
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(place)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                insist(end, b'{"mark":"begin","step":"forged"}\n')
        (refused,) = wait_for(lambda: recorded(stage.evidence(), "privilege", operation="claim"), "its record")
        assert (refused["arguments"], refused["process"], refused["refused"]) == ([os.getpid()], None, True)
        stage.remit("stop", "--kill")
        process.wait(30)
    assert records(stage.evidence(), "claim") == []
    (denial,) = [item for item in build_report(stage.evidence())["denials"] if item["operation"] == "claim"]
    assert denial["step"] is None


FLOOD = """\
import os, socket
end = socket.socket(socket.AF_UNIX)
end.connect(os.environ["REMIT_CLAIMS"])
line = b'{"mark":"begin","step":"a","arguments":"' + b"x" * 1000 + b'"}\\n'
for _ in range(400):
    end.sendall(line * 50)
    end.sendall(b"\\xff{{{[" * 200 + b"\\n")
end.sendall(b"[" * 300000 + b"\\n")
print("sent")
"""


def test_a_flood_is_counted_and_hurts_nobody(stage: Stage) -> None:
    (stage.workspace / "flood.py").write_text(FLOOD)
    done = stage.remit("run", "--scope", scope(stage), "--", "sh", "-c", "python3 flood.py; touch after")
    assert (done.returncode, done.stdout) == (0, "sent\n")
    assert (stage.workspace / "after").exists()
    lost = sum(record["count"] for record in records(stage.evidence(), "loss") if record["class"] == "claim")
    taken = len(records(stage.evidence(), "claim"))
    assert taken + lost == 400 * 51 + 1
    assert taken < 2000
    assert sum(file.stat().st_size for file in stage.evidence().glob("segment-*")) < 8 << 20
    assert build_report(stage.evidence())["lost"] == {"claim": lost}
    is_sound(stage.evidence())


SWAP = """\
import os, socket
place = os.environ["REMIT_CLAIMS"]
def number(act, *words):
    try:
        act(*words)
    except OSError as problem:
        return problem.errno
    return 0
print(number(os.rename, place, "own"), number(os.unlink, place), number(socket.socket(socket.AF_UNIX).bind, place))
own = socket.socket(socket.AF_UNIX)
own.bind("own")
print(number(os.rename, "own", place), number(os.link, "own", place), number(os.chmod, place, 0o777), flush=True)
input()
moved = socket.socket(socket.AF_UNIX)
print(number(socket.socket(socket.AF_UNIX).connect, place), number(moved.connect, place + ".moved"))
moved.sendall(b'{"mark":"begin","step":"a"}\\n')
"""


def test_what_is_put_in_its_place_is_judged_like_any_other_socket(stage: Stage) -> None:
    """The agent cannot touch its name; an outsider of this user can, and opens no way out by that."""
    (stage.workspace / "swap.py").write_text(SWAP)
    command = ("python3", "swap.py")
    with (
        ended(stage.start("run", "--scope", scope(stage), "--", *command, stdin=subprocess.PIPE)) as process,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        words = [process.stdout.readline().split() for _ in range(2)]
        assert not {0, errno.ENOENT} & {int(word) for word in (*words[0], *words[1])}, words
        (place,) = Path("/tmp").glob(f"remit-{stage.session_name()}.claims")
        place.rename(f"{place}.moved")
        listener.bind(str(place))
        listener.listen()
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline().split() == [str(errno.EACCES), "0"]
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert process.wait(30) == 0
        os.unlink(f"{place}.moved")
    assert [record["step"] for record in records(stage.evidence(), "claim")] == ["a"]
