"""What a harness does with remit.Session, as it would with subprocess."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest
from stage import Stage, nobody_left

import remit


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_comes_before_the_program_is_not_lost(stage: Stage, number: signal.Signals) -> None:
    with remit.Session(workspace=stage.workspace) as session, session.step("call", tool="bash"):
        for _ in range(5):
            program = session.popen(["sleep", "60"])
            program.send_signal(number)
            assert program.wait(20) == -number


def test_a_timeout_before_the_program_leaves_no_word_behind(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with remit.Session(workspace=stage.workspace) as session:
            began = time.monotonic()
            with pytest.raises(subprocess.TimeoutExpired):
                session.run(["sleep", "60"], timeout=0.0001)
        assert time.monotonic() - began < 20
        nobody_left(session.evidence)
    assert capfd.readouterr().err == ""


def test_leaving_at_once_leaves_no_word_behind(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with remit.Session(workspace=stage.workspace) as session:
            program = session.popen(["sleep", "60"])
        assert program.wait(20) == -signal.SIGKILL
        nobody_left(session.evidence)
    assert capfd.readouterr().err == ""
