"""What somebody outside meets who steers a session with `remit exec`, `stop`, `resume` and `report`."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from stage import Stage, ended, is_sound, recorded, wait_for


@pytest.fixture
def running(stage: Stage) -> Iterator[subprocess.Popen[Any]]:
    """A session under way."""
    with ended(stage.start("run", "--", "sh", "-c", "touch ready; exec sleep 1001")) as run:
        wait_for((stage.workspace / "ready").exists, "the session")
        yield run


def test_a_step_of_its_own_and_its_status(stage: Stage, running: subprocess.Popen[Any]) -> None:
    done = stage.remit("exec", "--step", "call_1", "--", "sh", "-c", "echo done; exit 7")
    assert (done.returncode, done.stdout) == (7, "done\n")
    again = stage.remit("exec", "--step", "call_1", "--", "touch", "again")
    assert again.returncode == 2
    assert again.stderr.startswith("remit: step id was used before: call_1\nhint: ")
    assert not (stage.workspace / "again").exists()


def test_a_frozen_session_says_so_in_place_of_waiting(stage: Stage, running: subprocess.Popen[Any]) -> None:
    assert stage.remit("stop").returncode == 0
    done = stage.remit("exec", "--step", "call_1", "--", "true")
    assert done.returncode == 2
    assert done.stderr == (f"remit: the session is frozen\nhint: remit resume --session {stage.session_name()}\n")
    report = stage.remit("report", "last").stdout
    assert "VERDICT   open: " in report
    assert "it is frozen" in report
    assert "cut off" not in report
    assert stage.remit("resume").returncode == 0
    assert stage.remit("exec", "--step", "call_1", "--", "true").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on(stage: Stage, running: subprocess.Popen[Any], number: signal.Signals) -> None:
    with ended(stage.start("exec", "--step", "call_1", "--", "sh", "-c", "touch inside; exec sleep 1002")) as call:
        # Not the file alone: `touch` may still be on its way out, and would then be left running.
        wait_for(lambda: recorded(stage.evidence(), "exec", arguments=["sleep", "1002"]), "the command")
        call.send_signal(number)
        assert call.wait(20) == 128 + number
    (end,) = recorded(stage.evidence(), "step", mark="end")
    assert len(end["left_running"]) == 1  # the agent's own process, and not the command


def test_an_interrupt_reaches_all_that_a_command_runs(stage: Stage, running: subprocess.Popen[Any]) -> None:
    line = "sleep 1004; echo finished"  # the shell itself waits for its child whatever it is sent
    with ended(stage.start("exec", "--step", "call_1", "--", "bash", "-c", line)) as call:
        wait_for(lambda: recorded(stage.evidence(), "exec", arguments=["sleep", "1004"]), "the command")
        call.send_signal(signal.SIGINT)
        assert call.wait(20) == 128 + signal.SIGINT
        assert call.stdout.read() == ""


def test_without_a_terminal_an_interrupt_is_passed_on(stage: Stage) -> None:
    with ended(stage.start("run", "--", "sh", "-c", "true; exec sleep 1005", start_new_session=True)) as run:
        wait_for(lambda: stage.sessions.exists() and any(stage.sessions.iterdir()), "the session")
        wait_for(lambda: recorded(stage.evidence(), "exec", arguments=["sleep", "1005"]), "the command")
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 128 + signal.SIGINT


def test_looking_for_the_session_that_is_meant_is_no_refused_act(stage: Stage, running: subprocess.Popen[Any]) -> None:
    with ended(stage.start("run", "--", "sleep", "1006")):
        wait_for(lambda: len(list(stage.sessions.iterdir())) == 2, "the second session")
        for _ in range(5):
            done = stage.remit("stop")
            if "more than one" in done.stderr:
                break
        assert "more than one session is running" in done.stderr
        found = [recorded(session, "privilege", operation="control") for session in stage.sessions.iterdir()]
        assert found == [[], []]


def test_a_caller_that_dies_ends_its_step(stage: Stage, running: subprocess.Popen[Any]) -> None:
    words = ("exec", "--step", "call_1", "--", "sh", "-c", "touch inside; exec sleep 1003")
    with ended(stage.start(*words, capture=False)) as call:
        wait_for((stage.workspace / "inside").exists, "the command")
        call.kill()
        call.wait()
        wait_for(lambda: recorded(stage.evidence(), "step", mark="end", step="call_1"), "the end of the step")
    assert stage.remit("stop", "--kill").returncode == 0
    assert running.wait(20) == 128 + signal.SIGKILL
    assert "remit: ended by operator; remit report " in running.stderr.read()
    assert "left running: " in stage.remit("report", "last").stdout
    is_sound(stage.evidence())


@pytest.mark.parametrize("command", ["report", "replay", "verify"])
def test_a_session_that_is_not_there(stage: Stage, command: str) -> None:
    for name in ("never", "last"):
        done = stage.remit(command, name)
        assert done.returncode == 2
        assert "\nhint: " in done.stderr


@pytest.mark.parametrize("words", [("stop",), ("resume",), ("exec", "--step", "s", "--", "true")])
def test_nobody_to_steer(stage: Stage, words: tuple[str, ...]) -> None:
    for session in ((), ("--session", "never")):
        done = stage.remit(words[0], *session, *words[1:])
        assert done.returncode == 2
        assert "\nhint: " in done.stderr


def test_a_routine_refusal_is_kept_and_not_counted(stage: Stage) -> None:
    line = "echo 1 > /proc/self/coredump_filter; echo name > /proc/$$/task/$$/comm; true"
    done = stage.remit("run", "--", "sh", "-c", f"({line}) 2>/dev/null; echo name > /proc/$PPID/comm; true")
    assert done.returncode == 0
    kept = recorded(stage.evidence(), "open", refused=True)
    assert [record.get("routine", False) for record in kept if record["path"].endswith("_filter")] == [True]
    assert [record.get("routine", False) for record in kept if record["path"].endswith("comm")][-1] is False
    assert "VERDICT   stayed inside, after " in stage.remit("report", "last").stdout


@pytest.mark.parametrize(("name", "hint"), [("--help", "remit run --help"), ("no-such-program", "a command is a name")])
def test_a_command_that_is_none_gets_a_hint(stage: Stage, name: str, hint: str) -> None:
    done = stage.remit("run", "--", name)
    assert done.returncode == 127
    assert done.stderr.startswith(f"remit: cannot run {name}: not found\nhint: {hint}")
    quiet = stage.remit("run", "--", "sh", "-c", "exit 127")
    assert (quiet.returncode, quiet.stderr) == (127, "")
