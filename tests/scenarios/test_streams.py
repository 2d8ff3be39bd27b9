"""A caller's standard streams may be closed: the session and the agent have /dev/null in their place."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import pytest
from stage import REMIT, Stage, is_sound, records

CLOSED = {0: "<&-", 1: ">&-", 2: "2>&-"}


def run(stage: Stage, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=stage.workspace, env=stage.environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("numbers", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_closed_stream_costs_nothing(stage: Stage, numbers: tuple[int, ...]) -> None:
    closing = " ".join(CLOSED[number] for number in numbers)
    program = "for n in 0 1 2; do readlink /proc/self/fd/$n; done > streams; exit 7"
    command = ["sh", "-c", f'exec "$@" {closing}', "sh", *REMIT, "run", "--", "sh", "-c", program]
    done = run(stage, command)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    seen = (stage.workspace / "streams").read_text().splitlines()
    # Standard output is the file here.
    assert [number for number in (0, 2) if number in numbers and seen[number] != os.devnull] == []
    is_sound(stage.evidence())
    assert records(stage.evidence(), "unsigned", "loss") == []


def test_what_cannot_be_said_is_no_fault(stage: Stage) -> None:
    for words, status in ((["scope", "explain"], 0), (["nope"], 2), (["scope", "check", "missing.yaml"], 121)):
        done = run(stage, ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *REMIT, *words])
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    # Nor does it go where the other stream leads.
    done = run(stage, ["sh", "-c", 'exec "$@" 2>&-', "sh", *REMIT, "nope"])
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
