"""Freezing stops everything and killing leaves nobody, not even of a fork bomb that ignores signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from stage import (
    Stage,
    below,
    cpu_ticks,
    ended,
    follow_cpu,
    is_sound,
    nobody_left,
    recorded,
    survivors,
    wait_for,
)

import remit

ROUNDS = int(os.environ.get("REMIT_TEST_BOMBS", "10"))
# Each is told a word that appears in the arguments of everything it starts, so that no survivor can hide.
BOMBS = {
    "of bash": ["bash", "-c", ":(){ :|:& };:", "{marker}"],
    "that ignores signals": [
        sys.executable,
        "-c",
        """\
import os, signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        child = os.fork()
    except OSError:
        continue
    if child == 0 or os.fork() == 0:
        try: os.setsid()
        except OSError: pass
""",
        "{marker}",
    ],
    "whose parents leave": [
        sys.executable,
        "-c",
        """\
import os, signal
while True:
    try:
        if os.fork():
            if os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            os.setsid()
    except OSError:
        pass
""",
        "{marker}",
    ],
    "that runs programs": [
        sys.executable,
        "-c",
        """\
import os, sys
while True:
    try:
        if os.fork() == 0:
            os.environ["n"] = os.environ.get("n", "") + "x"
            os.execv(sys.executable, sys.orig_argv)
    except OSError:
        pass
""",
        "{marker}",
    ],
}


def many(evidence: Path) -> bool:
    """The bomb has reached the limit, or is on its way with so many that a walk alone could not follow."""
    return len(recorded(evidence, "fork")) > 150


def supervisor_of(evidence: Path) -> int:
    (header,) = recorded(evidence, "session")
    pid: int = header["supervisor"]
    return pid


def agents(evidence: Path) -> set[int]:
    """Every process below the supervisor that is not remit's own."""
    (header,) = recorded(evidence, "session")
    return below(header["supervisor"]) - {header["zygote"], header["deputy"]}


def stands_still(evidence: Path) -> None:
    """No process of the agent uses any time or comes into being, over several clock ticks of this process."""
    before = cpu_ticks(agents(evidence))
    began = os.times()
    while (now := os.times()).user + now.system - began.user - began.system < 0.15:
        pass
    after = cpu_ticks(agents(evidence))
    assert before.keys() >= after.keys(), "a process was born in a frozen session"
    assert before == after, {pid: (before[pid], after[pid]) for pid in after if before[pid] != after[pid]}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_fork_bomb_is_frozen_and_killed_without_a_survivor(kind: str, stage: Stage) -> None:
    mine = list(BOMBS).index(kind)
    # Ten of each would be the same race over and over; ten of the classic one, and a share of the others.
    rounds = range(ROUNDS) if mine == 0 else range(mine, ROUNDS, len(BOMBS))
    for number in rounds:
        marker = f"bomb-{os.getpid()}-{mine}-{number}"
        with remit.Session(workspace=stage.workspace) as session:
            program = session.popen(
                [word.replace("{marker}", marker) for word in BOMBS[kind]], stderr=subprocess.DEVNULL
            )
            wait_for(lambda: many(session.evidence), "the bomb to grow")
            assert session.freeze() > 1
            stands_still(session.evidence)
            if number % 2:
                assert session.resume() > 0
                wait_for(follow_cpu(partial(agents, session.evidence)), "the bomb to go on")
            session.kill()
            assert survivors(session.evidence, marker=marker) == []
            assert isinstance(program.wait(10), int)  # the bomb's first process may have left by itself long before
        (response,) = recorded(session.evidence, "response", verdict="kill")
        assert response["survivors"] == 0
        assert session.result is not None
        assert (session.result.exit_source, session.result.ended_by) == ("remit", "harness")
        is_sound(session.evidence)
        assert survivors(session.evidence, marker=marker) == []


def test_a_bomb_is_held_below_the_limit(stage: Stage) -> None:
    with remit.Session(workspace=stage.workspace) as session:
        session.popen(BOMBS["of bash"], stderr=subprocess.DEVNULL)
        wait_for(lambda: recorded(session.evidence, "privilege", clause="processes.at-most"), "the limit")
        assert len(agents(session.evidence)) <= 512
        session.kill()
    nobody_left(session.evidence)


def test_freezing_reaches_whatever_a_process_does(stage: Stage) -> None:
    """Computing, sleeping, waiting for a child, in a new session, with signals ignored, already stopped."""
    programs = [
        [sys.executable, "-c", "while True: pass"],
        ["sleep", "1000"],
        ["bash", "-c", "sleep 1000; :"],
        ["setsid", "--wait", "bash", "-c", "while :; do :; done"],
        ["bash", "-c", "trap '' INT TERM HUP CONT TSTP; while :; do /bin/true; done"],
        ["bash", "-c", "kill -STOP $$; while :; do :; done"],
        [
            sys.executable,
            "-c",
            "import threading\nfor n in range(4): threading.Thread(target=lambda: list(iter(int, 1))).start()",
        ],
    ]
    with remit.Session(workspace=stage.workspace) as session:
        started = [session.popen(program) for program in programs]
        wait_for(lambda: len(recorded(session.evidence, "exec")) > 40, "the loop of programs")
        for _ in range(3):
            assert session.freeze() >= len(programs)
            stands_still(session.evidence)
            moved = follow_cpu(partial(agents, session.evidence))
            assert session.resume() >= len(programs)
            wait_for(moved, "work to go on")
        assert [program.poll() for program in started] == [None] * len(started)
        session.kill()
        assert [program.wait(10) for program in started] == [-signal.SIGKILL] * len(started)
    nobody_left(session.evidence)
    is_sound(session.evidence)


def test_a_frozen_session_can_be_left(stage: Stage) -> None:
    """The harness leaves while its session is frozen: everything ends all the same."""
    with remit.Session(workspace=stage.workspace) as session:
        session.popen(["bash", "-c", "while :; do /bin/true; done"])
        wait_for(lambda: len(recorded(session.evidence, "exec")) > 10, "the loop")
        session.freeze()
    nobody_left(session.evidence)
    is_sound(session.evidence)


def test_stop_and_resume_from_the_command_line(stage: Stage) -> None:
    script = "while [ ! -e over ]; do /bin/true; done; echo finished; exit 21"
    with ended(stage.start("run", "--", "bash", "-c", script)) as run:
        wait_for(lambda: list(stage.sessions.glob("*/control.sock")), "the session")
        evidence = stage.evidence()
        wait_for(lambda: len(recorded(evidence, "exec")) > 10, "the loop")
        stopped = stage.remit("stop")
        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert stopped.stdout.startswith("froze ")
        stands_still(evidence)
        (stage.workspace / "over").touch()
        stands_still(evidence)
        assert run.poll() is None
        resumed = stage.remit("resume", "--session", evidence.name)
        assert resumed.returncode == 0
        assert resumed.stdout.startswith("resumed ")
        output, errors = run.communicate(timeout=30)
    assert (run.returncode, output, errors) == (21, "finished\n", "")
    assert [response["verdict"] for response in recorded(evidence, "response")] == ["freeze", "resume"]
    assert {response["by"] for response in recorded(evidence, "response")} == {"operator"}
    is_sound(evidence)
    nobody_left(evidence)
    nothing = stage.remit("stop")
    assert nothing.returncode != 0
    assert "no session is running" in nothing.stderr


@pytest.mark.parametrize("frozen", [False, True])
def test_stop_with_kill_from_the_command_line(frozen: bool, stage: Stage) -> None:
    script = "trap '' TERM INT HUP; setsid sleep 1000 & nohup sleep 1000 & while :; do /bin/true; done"
    with ended(stage.start("run", "--", "bash", "-c", script, "bomb-by-hand")) as run:
        wait_for(lambda: list(stage.sessions.glob("*/control.sock")), "the session")
        evidence = stage.evidence()
        wait_for(lambda: len(recorded(evidence, "exec")) > 10, "the loop")
        if frozen:
            assert stage.remit("stop").returncode == 0
        killed = stage.remit("stop", "--kill", "--session", evidence.name)
        assert (killed.returncode, killed.stderr) == (0, "")
        run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGKILL
    assert survivors(evidence, marker="bomb-by-hand") == []
    (response,) = recorded(evidence, "response", verdict="kill")
    assert (response["by"], response["survivors"]) == ("operator", 0)
    is_sound(evidence)


# The first thread of each is gone and another goes on, in the process's own group and out of it.
LEADERLESS = """\
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None)
if sys.argv[2] == "setsid":
    os.setsid()
elif sys.argv[2] == "setpgid":
    os.setpgid(0, 0)
beats = open("beats", "ab", 0)

def go_on():
    while True:
        beats.write(b".")
        time.sleep(0.001)

threading.Thread(target=go_on).start()
libc.syscall(60, 0)
"""


@pytest.mark.parametrize("group", ["setsid", "setpgid", "stay"])
@pytest.mark.parametrize("how", ["kill", "end"])
def test_a_process_without_its_first_thread_does_not_outlive_the_session(how: str, group: str, stage: Stage) -> None:
    marker = f"leaderless-{group}-{how}"
    script = 'python3 -c "$0" "$@" & while [ ! -s beats ]; do :; done; [ "$3" = end ] || sleep 1000'
    with ended(stage.start("run", "--", "bash", "-c", script, LEADERLESS, marker, group, how)) as run:
        beats = stage.workspace / "beats"
        if how == "kill":
            wait_for(lambda: beats.exists() and beats.stat().st_size > 0, "the other thread")
            (response,) = wait_for(
                lambda: stage.remit("stop", "--kill") and recorded(stage.evidence(), "response", verdict="kill"), "it"
            )
            assert response["survivors"] == 0
        run.communicate(timeout=30)
    assert survivors(stage.evidence(), marker=marker) == []
    before = beats.stat().st_size
    stands_still_outside(beats)
    assert beats.stat().st_size == before
    is_sound(stage.evidence())


def stands_still_outside(file: Path) -> None:
    """Spend as much time as the file would need to grow, were somebody left to write to it."""
    began = os.times()
    while (now := os.times()).user + now.system - began.user - began.system < 0.15:
        file.stat()


def test_stopping_the_zygote_does_not_hang_the_session(stage: Stage) -> None:
    """It is among the agent's own processes as far as Landlock knows, so it can be stopped; not for long."""
    done = stage.remit("run", "--", "bash", "-c", "kill -STOP $PPID; /bin/echo done; exit 4")
    assert (done.returncode, done.stdout) == (4, "done\n")
    (record,) = recorded(stage.evidence(), "signal", operation="stop")
    assert record["refused"]
    is_sound(stage.evidence())


# Neither has asked anything since its birth when the session ends, so the supervisor has never heard of it.
SILENT = """\
import os, signal
ready, said = os.pipe()
for n in range(3):
    if os.fork() == 0:
        os.setsid()
        os.write(said, b"x")
        while True: pass
while len(os.read(ready, 1)) and (n := n - 1) >= 0: pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_that_nobody_has_met_end_with_the_session(stage: Stage) -> None:
    done = stage.remit("run", "--", sys.executable, "-c", SILENT, "silent-children")
    assert done.returncode == 128 + signal.SIGKILL
    assert survivors(stage.evidence(), marker="silent-children") == []
    is_sound(stage.evidence())
    with remit.Session(workspace=stage.workspace) as session:
        session.run([sys.executable, "-c", SILENT, "silent-children"])
    assert survivors(session.evidence, marker="silent-children") == []
