"""Whichever process is killed, at whatever moment: what was denied stays denied, and what was recorded verifies."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, ended, is_sound, marked, nobody_left, records, start_time, wait_for

from remit.evidence.chain import verify

ROUNDS = int(os.environ.get("REMIT_TEST_CRASHES", "50"))
# Each share of ROUNDS has its own seed, so that a failure can be had again.
VICTIMS = {"supervisor": 20, "engine": 15, "shell": 15}
HEADER = 1  # records

# Tries what the default scope forbids, by several routes, over and over. It says so when one succeeds and when all have
# failed, in files that it opened before: when nobody answers any more it can open nothing.
ATTACK = """\
import ctypes, os, socket, sys
port, outside, forbidden = int(sys.argv[1]), sys.argv[2], sys.argv[3]
succeeded, rounds = open("succeeded", "ab", 0), open("rounds", "ab", 0)

def connect(kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(socket.AF_INET, kind, protocol) as s:
        s.settimeout(5)
        s.connect(("127.0.0.1", port))

def fast_open():
    with socket.socket() as s:
        s.sendto(b"x", 0x20000000, ("127.0.0.1", port))

def write():
    os.close(os.open(outside + "/file", os.O_WRONLY))

def create():
    os.close(os.open(outside + "/new", os.O_WRONLY | os.O_CREAT))

def read():
    os.close(os.open(outside + "/file", os.O_RDONLY))

def run():
    if os.spawnv(os.P_WAIT, forbidden, [forbidden]) != 0:
        raise OSError

def listen():
    with socket.socket() as s:
        s.listen()

def ring():
    if ctypes.CDLL(None, use_errno=True).syscall(425, 1, ctypes.create_string_buffer(256)) < 0:
        raise OSError

acts = {
    "connect": connect,
    "datagram": lambda: connect(socket.SOCK_DGRAM),
    "multipath": lambda: connect(protocol=262),
    "fast open": fast_open,
    "write": write,
    "create": create,
    "read": read,
    "run": run,
    "listen": listen,
    "io_uring": ring,
}
while True:
    for name, act in acts.items():
        try:
            act()
        except OSError:
            continue
        succeeded.write(name.encode() + b" ")
    rounds.write(b".")
"""
# The attack in the shell's own tree and out of it, in a session of its own, ignoring what can be ignored.
SHELL = 'trap "" TERM HUP INT; setsid "$@" & ( "$@" & ) ; "$@"; exit 9'


class Outsider:
    """A listener and a directory that nobody inside may reach."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "file").write_text("untouched")
        self.forbidden = directory / "true"
        self.forbidden.write_bytes(Path("/bin/true").read_bytes())
        self.forbidden.chmod(0o755)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def command(self) -> list[str]:
        attack = [sys.executable, "-B", "-c", ATTACK, str(self.socket.getsockname()[1]), str(self.directory)]
        return ["bash", "-c", SHELL, "shell", *attack, str(self.forbidden)]

    def is_untouched(self) -> None:
        assert sorted(path.name for path in self.directory.iterdir()) == ["file", "true"]
        assert (self.directory / "file").read_text() == "untouched"
        with pytest.raises(BlockingIOError):
            self.socket.accept()


@pytest.fixture
def outsider(tmp_path: Path) -> Iterator[Outsider]:
    made = Outsider(tmp_path / "outside")
    yield made
    made.socket.close()


def find(victim: str, evidence: Path, launcher: int) -> int | None:
    """The process to kill, once it is there."""
    found = records(evidence, "session", "fork")
    if not found or found[0]["kind"] != "session":
        return None
    if victim == "engine":
        # Forked first, and recorded nowhere, for it has no part in the session but to read.
        ours = [int(name) for name in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]
        return next((pid for pid in ours if pid != found[0]["supervisor"]), None)
    if victim != "shell":
        pid: int = found[0][victim]
        return pid
    shell = next((record for record in found if record["kind"] == "fork" and record["via"] == "spawn"), None)
    return None if shell is None else int(shell["process"].partition(":")[0])


def crash(victim: str, moment: int, stage: Stage, outsider: Outsider, number: int) -> int:
    """Run the attack, kill the victim once `moment` records are written, and look at what became of it all."""
    evidence = stage.root / f"evidence-{number}"
    with ended(stage.start("run", "--evidence", evidence, "--", *outsider.command(), capture=False)) as run:
        pid = wait_for(lambda: find(victim, evidence, run.pid) if evidence.exists() else None, f"the {victim}")
        wait_for(lambda: len(records(evidence)) >= moment or run.poll() is not None, f"{moment} records")
        os.kill(pid, signal.SIGKILL)
        status: int = run.wait(30)
    verification = verify(evidence)
    assert verification.whole, verification.damage
    assert verification.records >= moment
    (header,) = records(evidence, "session")
    assert marked(f"/remit-{header['session']}") == set()
    nobody_left(evidence)
    nothing_succeeded(stage, outsider)
    return status


def nothing_succeeded(stage: Stage, outsider: Outsider) -> None:
    succeeded = stage.workspace / "succeeded"
    assert not succeeded.exists() or succeeded.read_text() == ""
    outsider.is_untouched()


# A round takes as long as remit takes to start, to record `moment` records and to end.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_opens_nothing(victim: str, stage: Stage, outsider: Outsider) -> None:
    moments = random.Random(victim)
    expected = {"supervisor": 125, "engine": 125, "shell": 128 + signal.SIGKILL}[victim]
    for number in range(max(1, VICTIMS[victim] * ROUNDS // 50)):
        moment = HEADER + int(moments.expovariate(1 / 60))
        status = crash(victim, moment, stage, outsider, number)
        assert status == expected, f"round {number}, killed after {moment} records"
        if victim != "supervisor":
            is_sound(stage.root / f"evidence-{number}")


@pytest.mark.parametrize("victim", ["zygote", "deputy"])
def test_the_session_ends_when_what_acts_for_the_agent_is_killed(victim: str, stage: Stage, outsider: Outsider) -> None:
    for number, moment in enumerate((1, 5, 80)):
        assert crash(victim, moment, stage, outsider, number) == 125
        is_sound(stage.root / f"evidence-{number}")


def test_what_outlives_supervisor_and_launcher_can_do_nothing_new(stage: Stage, outsider: Outsider) -> None:
    """Nobody is left who could end the agent, and the kernel still refuses."""
    evidence = stage.root / "evidence"
    with ended(stage.start("run", "--evidence", evidence, "--", *outsider.command(), capture=False)) as run:
        supervisor = wait_for(lambda: find("supervisor", evidence, run.pid) if evidence.exists() else None, "it")
        wait_for(lambda: len(records(evidence)) > 80, "the attack")
        os.kill(supervisor, signal.SIGSTOP)  # each would end the agent if it saw the other go
        os.kill(run.pid, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        run.wait(30)
    wait_for(lambda: start_time(supervisor) is None, "the supervisor's end")
    (header,) = records(evidence, "session")
    try:
        rounds = stage.workspace / "rounds"
        before = rounds.stat().st_size
        wait_for(lambda: rounds.stat().st_size > before + 20, "attempts that nobody answers")
        assert verify(evidence).whole
        nothing_succeeded(stage, outsider)
    finally:
        for pid in marked(f"/remit-{header['session']}"):
            os.kill(pid, signal.SIGKILL)
