"""Every example runs, offline, and its steps are what it says: proven from outside, likely where they are claimed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stage import Stage, charged, is_sound

from remit.report.summary import build_report

EXAMPLES = Path(__file__).parents[2] / "examples"
SDKS = {
    "openai_agents": "agents",
    "langchain": "langchain_core",
    "inspect_ai": "inspect_ai",
    "otlp": "opentelemetry.exporter.otlp.proto.http",
}


def put(stage: Stage, name: str) -> None:
    """The example in the workspace, unless its framework is missing."""
    if name in SDKS:
        pytest.importorskip(SDKS[name])
    shutil.copytree(EXAMPLES / name, stage.workspace, dirs_exist_ok=True)


def writes(evidence: Path) -> dict[str, tuple[str | None, str]]:
    return {
        Path(record["path"]).name: (attribution.step, attribution.attribution)
        for record, attribution in charged(evidence)
        if record["kind"] == "open" and record["path"].endswith(".txt")
    }


def inside(stage: Stage, *command: str) -> Path:
    done = stage.remit("run", "--scope", "scope.yaml", "--", *command)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["Done."]), done.stderr
    is_sound(stage.evidence())
    return stage.evidence()


@pytest.mark.parametrize("name", ["openai_agents", "langchain"])
def test_a_harness_outside_proves(stage: Stage, name: str) -> None:
    put(stage, name)
    done = subprocess.run(
        [sys.executable, "harness.py"], cwd=stage.workspace, env=stage.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Done.\n"), done.stderr
    report = build_report(stage.evidence())
    one, two = (step["id"] for step in report["steps"])
    assert writes(stage.evidence()) == {"one.txt": (one, "proven"), "two.txt": (two, "proven")}
    assert {step["tool"] for step in report["steps"]} == {"bash"}
    assert report["claims"] == []
    is_sound(stage.evidence())


@pytest.mark.parametrize("name", ["openai_agents", "langchain", "hook"])
def test_an_agent_inside_claims(stage: Stage, name: str) -> None:
    put(stage, name)
    evidence = inside(stage, "python3", "agent.py")
    claims = build_report(evidence)["claims"]
    one, two = (claim["id"] for claim in claims)
    assert writes(evidence) == {"one.txt": (one, "likely"), "two.txt": (two, "likely")}
    assert [claim["arguments"].get("line", claim["arguments"].get("command")) for claim in claims] == [
        "echo one > one.txt", "cat one.txt && date > two.txt",
    ]  # fmt: skip
    assert all(claim["ended"] for claim in claims)


def test_inspect_tells_afterwards(stage: Stage) -> None:
    put(stage, "inspect_ai")
    evidence = inside(stage, "python3", "task.py")
    (claim,) = [claim for claim in build_report(evidence)["claims"] if claim["tool"] == "bash"]
    assert (claim["late"], claim["heeded"], claim["arguments"]) == (True, False, {"line": "echo one > one.txt"})
    assert writes(evidence)["one.txt"] == (None, "unknown")


def test_telemetry_tells_afterwards(stage: Stage) -> None:
    """Two sessions of one machine cannot have the same port, so this one is not the default."""
    put(stage, "otlp")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    scope = stage.workspace / "scope.yaml"
    scope.write_text(scope.read_text().replace("4318", str(port)))
    evidence = inside(stage, "remit", "otlp", "--port", str(port), "--", "python3", "agent.py")
    claims = build_report(evidence)["claims"]
    assert [(claim["id"], claim["tool"], claim["source"], claim["late"], claim["arguments"]) for claim in claims] == [
        ("claim:call_1", "bash", "otlp", True, {"line": "echo one > one.txt"}),
        ("claim:call_2", "bash", "otlp", True, {"line": "cat one.txt && date > two.txt"}),
    ]
    assert all(claim["began"] <= claim["ended"] for claim in claims)
    assert writes(evidence) == {"one.txt": (None, "unknown"), "two.txt": (None, "unknown")}


def test_outside_of_a_session_otlp_runs_the_command_as_it_is(stage: Stage) -> None:
    done = stage.remit("otlp", "--", "sh", "-c", 'echo "[$OTEL_EXPORTER_OTLP_ENDPOINT]"; exit 7')
    assert (done.returncode, done.stdout, done.stderr) == (7, "[]\n", "")
    assert stage.remit("otlp", "--", "no-such-program").returncode == 127
    assert stage.remit("otlp").returncode == 2


def test_otlp_passes_signals_and_statuses_on(stage: Stage) -> None:
    put(stage, "hook")
    scope = stage.workspace / "scope.yaml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = ("run", "--scope", "scope.yaml", "--", "remit", "otlp", "--port", str(port), "--")
    done = stage.remit(*words, "true")
    assert (done.returncode, "cannot listen on 127.0.0.1" in done.stderr) == (2, True)
    own = f"{{cidr: self, port: {port}}}"
    scope.write_text(scope.read_text() + f"network: {{connect: [{own}], listen: [{own}]}}\n")
    for code, status in (("exit 9", 9), ("kill -TERM $PPID; sleep 60", 143)):
        assert stage.remit(*words, "sh", "-c", code).returncode == status
    assert stage.remit(*words, "no-such-program").returncode == 127
