"""The official SDK's server and client, unchanged, with `remit mcp` between them: what is in `examples/mcp`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mcp_client import acts, findings, steps
from stage import REMIT, Stage, is_sound, nobody_left, recorded

pytest.importorskip("mcp", reason="needs the mcp package: pip install 'remit[mcp]'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "mcp"


def converse(stage: Stage, *before: str) -> str:
    """What the example's client prints when it has used the example's server, started by these words."""
    for name in ("server.py", "client.py", "scope.yaml"):
        shutil.copy(EXAMPLE / name, stage.workspace)
    words = [sys.executable, "client.py", *before, sys.executable, "server.py"]
    done = subprocess.run(words, cwd=stage.workspace, env=stage.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (stage.workspace / "notes.txt").unlink()
    return done.stdout


def test_the_example_says_the_same_and_the_tool_that_lies_is_found(stage: Stage) -> None:
    bare = converse(stage)
    # The SDK's client hands its server few variables, so the state is where the home says.
    assert converse(stage, *REMIT, "mcp", "--scope", "scope.yaml", "--") == bare
    assert "tally: How many notes there are. (only reads)" in bare
    assert "  written: 2 of 2" in bare
    (evidence,) = (stage.root / "home" / ".local" / "state" / "remit" / "sessions").iterdir()
    begun = {tool: step for mark, step, tool in steps(evidence) if mark == "begin"}
    assert list(begun) == ["note", "lookup", "tally"]
    (finding,) = findings(evidence, "say-do-mismatch")
    assert (finding["step"], finding["state"], finding["severity"]) == (begun["tally"], "succeeded", "medium")
    assert acts(evidence, stage.workspace / "notes.txt") == [(begun["note"], "likely")]
    listed = {record["tool"]: record["annotations"] for record in recorded(evidence, "mcp", mark="listed")}
    assert listed == {
        "lookup": {"readOnlyHint": True},
        "note": {"readOnlyHint": False, "destructiveHint": False},
        "tally": {"readOnlyHint": True},
    }
    is_sound(evidence)
    nobody_left(evidence)


def test_each_call_of_it_can_have_a_server_of_its_own(stage: Stage) -> None:
    options = ["--scope", "scope.yaml", "--each-call", "tally", "--each-call", "note"]
    assert converse(stage, *REMIT, "mcp", *options, "--") == converse(stage)
    (evidence,) = (stage.root / "home" / ".local" / "state" / "remit" / "sessions").iterdir()
    begun = {tool: step for mark, step, tool in steps(evidence) if mark == "begin"}
    assert acts(evidence, stage.workspace / "notes.txt") == [(begun["note"], "proven")]
    (finding,) = findings(evidence, "say-do-mismatch")
    assert (finding["step"], finding["attribution"], finding["severity"]) == (begun["tally"], "proven", "high")
    assert json.loads(json.dumps(finding))["origin"]["who"] == "agent"
    is_sound(evidence)
    nobody_left(evidence)
