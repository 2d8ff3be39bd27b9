"""Phases: what one grants holds for what is started in it and for nobody else, and whoever outlives one is known."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stage import Stage, ended, is_sound, recorded, start_time, wait_for

import remit
from remit.errors import StepError
from remit.report.summary import build_report
from remit.report.text import render_text

CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('through')"
SEND = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    "s.sendto(b'x', ('127.0.0.1', int(sys.argv[1]))); print('through')"
)
LISTEN = (
    "import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('through')"
)


BIND = "import socket, os, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.unlink(sys.argv[1])"


@contextmanager
def listener(kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    with socket.socket(socket.AF_INET, kind) as end:
        end.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            end.listen(64)
        yield int(end.getsockname()[1])


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


def scope(stage: Stage, phases: dict[str, Any], **more: Any) -> Path:
    place = stage.root / "scope.yaml"
    wanted = {"remit": 1, "task": "phases", "use": ["base", "python"], "files": {"write": ["$TMPDIR"], "read": ["."]}}
    place.write_text(json.dumps({**wanted, "phases": phases, **more}))
    return place


def tried(session: remit.Session, phase: str | None, *command: Any) -> bool:
    """Whether a command of a step in this phase succeeds."""
    tried.count += 1  # type: ignore[attr-defined]
    with session.step(f"call_{tried.count}", tool="bash", phase=phase):  # type: ignore[attr-defined]
        return session.run([str(word) for word in command], capture_output=True).returncode == 0


tried.count = 0  # type: ignore[attr-defined]


def test_each_phase_has_its_own_files_and_network_and_no_other(stage: Stage) -> None:
    for name in ("inputs", "outputs"):
        (stage.root / name).mkdir()
        (stage.root / name / "file").write_text("x")
    inputs, outputs = stage.root / "inputs", stage.root / "outputs"
    port = free_port()
    with listener() as tcp, listener(socket.SOCK_DGRAM) as udp:
        network = {
            "connect": [{"cidr": "127.0.0.1", "port": tcp}],
            "udp": [{"cidr": "127.0.0.1", "port": udp}],
            "listen": [{"cidr": "127.0.0.1", "port": port}],
        }
        phases = {
            "setup": {"files": {"write": [str(inputs)]}, "network": network},
            "work": {"files": {"write": [".", str(outputs)], "read": [str(inputs)]}},
        }
        acts: dict[str, tuple[list[Any], set[str | None]]] = {
            "read inputs": (["cat", inputs / "file"], {"setup", "work"}),
            "write inputs": (["touch", inputs / "new"], {"setup"}),
            "write outputs": (["touch", outputs / "new"], {"work"}),
            "write workspace": (["touch", "new"], {"work"}),
            "change mode": (["chmod", "600", outputs / "file"], {"work"}),
            "bind a unix socket": (["python3", "-c", BIND, outputs / "socket"], {"work"}),
            "connect": (["python3", "-c", CONNECT, tcp], {"setup"}),
            "send": (["python3", "-c", SEND, udp], {"setup"}),
            "listen": (["python3", "-c", LISTEN, port], {"setup"}),
        }
        with remit.Session(scope=scope(stage, phases), workspace=stage.workspace) as session:
            for phase in ("setup", "work", None, "setup"):
                found = {name for name, (command, _) in acts.items() if tried(session, phase, *command)}
                assert found == {name for name, (_, phases_of) in acts.items() if phase in phases_of}, phase
    refused = {(record["kind"], record["clause"]) for record in recorded(session.evidence, "connect", refused=True)}
    assert refused == {("connect", "network.connect")}
    granted = recorded(session.evidence, "connect", refused=False, port=tcp)
    assert {record["clause"] for record in granted} == {"phases.setup.network.connect[0]"}
    is_sound(session.evidence)
    report = build_report(session.evidence)
    assert [(phase["name"], bool(phase["ended"])) for phase in report["phases"]] == [
        ("setup", True), ("work", True), ("setup", True)
    ]  # fmt: skip
    assert {step["phase"] for step in report["steps"]} == {"setup", "work", None}
    assert {denial["phase"] for denial in report["denials"]} == {"setup", "work", None}


@pytest.mark.parametrize("detach", ["", "setsid ", "nohup "])
def test_who_outlives_a_phase_is_listed_keeps_its_grants_and_is_not_widened(stage: Stage, detach: str) -> None:
    (stage.root / "outputs").mkdir()
    phases = {"setup": {"files": {"write": ["."]}}, "work": {"files": {"write": [str(stage.root / "outputs")]}}}
    loop = f"while :; do touch from-setup; touch {stage.root}/outputs/from-setup; sleep 0.02; done"
    with remit.Session(scope=scope(stage, phases), workspace=stage.workspace) as session:
        assert tried(session, "setup", "sh", "-c", f"({detach}sh -c '{loop}' > /dev/null 2>&1 &)")
        assert tried(session, "work", "true")
        (stage.workspace / "from-setup").unlink(missing_ok=True)
        wait_for((stage.workspace / "from-setup").exists, "the survivor")
        assert not (stage.root / "outputs" / "from-setup").exists()
    (phase, _) = build_report(session.evidence)["phases"]
    assert phase["survivors"] == "keep"
    assert phase["left_running"]
    assert "left running" in render_text(build_report(session.evidence))


def test_survivors_are_ended_where_the_scope_says_so(stage: Stage) -> None:
    phases = {"setup": {"files": {"write": ["."]}, "survivors": "end"}, "work": {}}
    bomb = "exec > /dev/null 2>&1; (setsid sh -c 'while :; do (sleep 60 &); done' &) ; (trap '' TERM HUP; sleep 60 &)"
    with remit.Session(scope=scope(stage, phases), workspace=stage.workspace) as session:
        assert tried(session, "setup", "sh", "-c", bomb)
        wait_for(lambda: len(recorded(session.evidence, "fork")) > 20, "the bomb")
        assert tried(session, "work", "true")
        started = (record["process"].split(":") for record in recorded(session.evidence, "fork"))
        assert [pid for pid, start in started if start_time(int(pid)) == int(start)] == []
    (phase, _) = build_report(session.evidence)["phases"]
    assert (phase["survivors"], bool(phase["left_running"])) == ("end", True)


def test_a_phase_that_is_not_in_the_scope_and_two_at_once_are_refused(stage: Stage) -> None:
    with remit.Session(scope=scope(stage, {"setup": {}, "work": {}}), workspace=stage.workspace) as session:
        with pytest.raises(StepError, match="no such phase"), session.step("a", tool="bash", phase="grading"):
            pass
        with session.step("b", tool="bash", phase="setup"):
            with pytest.raises(StepError, match="another phase"), session.step("c", tool="bash", phase="work"):
                pass
            with session.step("d", tool="bash", phase="setup"):
                pass
        assert tried(session, "work", "true")


def test_a_scope_without_phases_has_none(stage: Stage) -> None:
    with remit.Session(workspace=stage.workspace) as session:
        with pytest.raises(StepError, match="no such phase: setup"), session.step("a", tool="bash", phase="setup"):
            pass
        assert tried(session, None, "true")


def test_the_command_line_starts_commands_in_phases(stage: Stage) -> None:
    place = scope(stage, {"setup": {"files": {"write": ["."]}}, "work": {}})
    done = stage.remit("run", "--scope", place, "--phase", "setup", "--", "touch", "made")
    assert (done.returncode, done.stderr) == (0, "")
    assert stage.remit("run", "--scope", place, "--phase", "work", "--", "touch", "more").returncode == 1
    assert stage.remit("run", "--scope", place, "--", "touch", "more").returncode == 1
    wrong = stage.remit("run", "--scope", place, "--phase", "grading", "--", "true")
    assert (wrong.returncode, wrong.stderr) == (
        2, "remit: the scope has no such phase: grading\nhint: its phases: setup work\n"
    )  # fmt: skip
    waits = ("sh", "-c", "while [ ! -e stop ]; do sleep 0.02; done")
    with ended(stage.start("run", "--scope", place, "--label", "run=7", "--", *waits)) as session:
        name = wait_for(lambda: running(stage), "the session")
        one = stage.remit("exec", "--session", name, "--step", "one", "--phase", "setup", "--", "touch", "second")
        assert (one.returncode, one.stderr) == (0, "")
        (stage.workspace / "stop").touch()
        assert session.wait(30) == 0
    report = build_report(stage.sessions / name)
    assert [phase["name"] for phase in report["phases"]] == ["setup"]
    assert "labels    run=7" in render_text(report)


def running(stage: Stage) -> str:
    """The session that has a socket to be steered by, and no end."""
    found = [path for path in stage.sessions.iterdir() if (path / "control.sock").is_socket()]
    return found[-1].name if len(found) == 1 else ""


def test_explain_and_the_schema_have_them(stage: Stage) -> None:
    place = scope(stage, {"setup": {"files": {"write": ["."]}, "survivors": "end"}})
    said = stage.remit("scope", "explain", place).stdout
    assert "In the phase setup besides:\n  change " in said
    assert "(phases.setup.files.write[0])" in said
    assert "what is left of it when it ends: is ended" in said
    assert "phases" in json.loads(stage.remit("scope", "schema").stdout)["properties"]
    bad = stage.root / "bad.yaml"
    bad.write_text("remit: 1\ntask: x\nphases:\n  Setup: {}\n")
    checked = stage.remit("scope", "check", bad)
    assert checked.returncode == 121
    assert "bad.yaml:4:3: " in checked.stderr
    assert "Traceback" not in checked.stderr
