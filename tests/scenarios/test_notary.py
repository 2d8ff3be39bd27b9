"""The notary signs real sessions, out of the agent's reach; without it a session goes on and says so everywhere."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from stage import Stage, command_name, ended, is_sound, nobody_left, records, wait_for

from remit.boundary.host import find_host
from remit.report.summary import build_report

pytestmark = pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")

BUSY = "i=0; while [ $i -lt 3000 ]; do /bin/true; i=$((i+1)); done"

# What an agent that knows the notary and its key would try. It prints what it got.
ATTACK = """\
import ctypes, os, sys
key = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)

def is_notary(pid):
    try:
        status = open(f"/proc/{pid}/status").read()
    except OSError:
        return False  # gone meanwhile
    return "Name:\\tremit-notary\\n" in status and f"Uid:\\t{os.getuid()}\\t" in status

notary = max(int(name) for name in os.listdir("/proc") if name.isdigit() and is_notary(name))

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

acts = {
    "read the key": lambda: open(key).read(),
    "list its directory": lambda: os.listdir(os.path.dirname(key)),
    "replace the key": lambda: os.rename("own", key),
    "link the key": lambda: os.link(key, "linked"),
    "open the key for all": lambda: open(key, "w"),
    "kill": lambda: os.kill(notary, 9),
    "stop": lambda: os.kill(notary, 19),
    "read its memory": lambda: open(f"/proc/{notary}/mem", "rb").read(1),
    "read its environment": lambda: open(f"/proc/{notary}/environ", "rb").read(1),
    "list its descriptors": lambda: os.listdir(f"/proc/{notary}/fd"),
    "ptrace": lambda: call(101, 16, notary, 0, 0),
    "process_vm_readv": lambda: call(310, notary, 0, 0, 0, 0, 0),
    "pidfd_getfd": lambda: call(438, os.pidfd_open(notary), 3, 0),
    "prlimit": lambda: call(302, notary, 7, 0, 0),
    "lower its priority": lambda: os.setpriority(os.PRIO_PROCESS, notary, 19),
}
open("own", "w").close()
for name, act in acts.items():
    try:
        act()
    except OSError:
        continue
    print(name)
"""


def notary_below(launcher: int) -> int | None:
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next((int(child) for child in children if command_name(int(child)) == "remit-notary"), None)


def public_key(stage: Stage) -> Path:
    path = stage.root / "notary.pub.pem"
    path.write_text(stage.remit("key").stdout)
    return path


def test_a_session_is_signed_to_its_end(stage: Stage) -> None:
    done = stage.remit("run", "--", "sh", "-c", "echo a > b; cat b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "")
    is_sound(stage.evidence())
    verified = stage.remit("verify", "--json", "--key", public_key(stage), "last")
    assert verified.returncode == 0, verified.stdout
    told = json.loads(verified.stdout)
    assert (told["closed"], told["unsigned"], told["signer_known"]) == (True, 0, True)
    assert [gap for gap in build_report(stage.evidence())["gaps"] if gap["name"] == "evidence-unsigned"] == []


def test_a_killed_session_is_signed_up_to_a_checkpoint(stage: Stage) -> None:
    key = public_key(stage)
    with ended(stage.start("run", "--", "sh", "-c", BUSY, capture=False)) as run:
        wait_for(lambda: stage.sessions.exists() and len(records(stage.evidence(), "checkpoint")) >= 2, "checkpoints")
        (header,) = records(stage.evidence(), "session")
        os.kill(header["supervisor"], signal.SIGKILL)
        assert run.wait(30) == 125
    nobody_left(stage.evidence())
    is_sound(stage.evidence(), closed=False)
    told = json.loads(stage.remit("verify", "--json", "--key", key, "last").stdout)
    assert told["whole"] is True
    assert told["closed"] is False
    assert 0 < told["signed"] < told["records"]
    assert stage.remit("verify", "--key", key, "last").returncode == 124


def test_the_agent_reaches_neither_the_notary_nor_its_key(stage: Stage) -> None:
    key = stage.root / "state" / "remit" / "notary" / "key.pem"
    public = public_key(stage)
    before = key.read_bytes()
    done = stage.remit("run", "--", sys.executable, "-c", ATTACK, key)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert key.read_bytes() == before
    assert stage.remit("verify", "--key", public, "last").returncode == 0


def test_the_notary_is_confined_and_unreadable(stage: Stage) -> None:
    with ended(stage.start("run", "--", "sleep", "60")) as run:
        notary = wait_for(lambda: notary_below(run.pid), "the notary")
        wait_for(lambda: stage.sessions.exists() and records(stage.evidence(), "checkpoint"), "a signature")
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{notary}/status").read_text().splitlines() if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0
        if os.getuid() != 0:
            for file in ("mem", "environ", "maps"):
                with pytest.raises(PermissionError):
                    Path(f"/proc/{notary}/{file}").read_bytes()
        assert stage.remit("stop", "--kill").returncode == 0
        run.wait(30)
        assert not Path(f"/proc/{notary}").exists()


def test_a_session_goes_on_without_its_notary_and_says_so(stage: Stage) -> None:
    key = public_key(stage)
    command = ["sh", "-c", "while [ ! -e go ]; do sleep 0.05; done; exit 3"]
    with ended(stage.start("run", "--", *command)) as run:
        notary = wait_for(lambda: notary_below(run.pid), "the notary")
        wait_for(lambda: stage.sessions.exists() and records(stage.evidence(), "checkpoint"), "a signature")
        os.kill(notary, signal.SIGKILL)
        wait_for(lambda: records(stage.evidence(), "unsigned"), "the record of its loss")
        (stage.workspace / "go").touch()
        _, said = run.communicate(timeout=30)
    assert run.returncode == 3
    assert said == "remit: evidence is not signed to its end: the notary died\n"
    is_sound(stage.evidence())
    (gap,) = [gap for gap in build_report(stage.evidence())["gaps"] if gap["name"] == "evidence-unsigned"]
    assert gap["reason"].endswith("the notary died")
    assert stage.remit("verify", "last").returncode == 0
    verified = stage.remit("verify", "--key", key, "last")
    assert verified.returncode == 124
    assert verified.stdout.startswith("not closed: the key vouches for the first ")


def test_a_key_that_others_may_read_signs_nothing(stage: Stage) -> None:
    public = public_key(stage)
    (stage.root / "state" / "remit" / "notary" / "key.pem").chmod(0o644)
    done = stage.remit("run", "--", "true")
    assert done.returncode == 0
    assert "not signed to its end: the signing key must be this user's own file" in done.stderr
    is_sound(stage.evidence())
    verified = stage.remit("verify", "--key", public, "last")
    assert verified.returncode == 124
    assert verified.stdout.startswith("not signed: no checkpoint vouches for any record\n")


def test_a_scope_that_could_read_the_key_is_refused(stage: Stage) -> None:
    stage.remit("key")
    scope = stage.root / "scope.yaml"
    scope.write_text(f"remit: 1\ntask: t\nfiles: {{read: [{stage.root}/state]}}\n")
    done = stage.remit("run", "--scope", scope, "--", "true")
    assert done.returncode == 121
    assert "the agent could read the notary's key" in done.stderr
