"""What an agent may try to have its acts charged to another step: nothing moves, and each attempt is an event."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_model import Call, Model, serving
from stage import Stage, charged, ended, is_sound, new_stage, recorded, records, wait_for

AGENT = Path(__file__).with_name("small_agent.py")


@pytest.fixture
def model() -> Iterator[Model]:
    with serving(Model([])) as made:
        yield made


def scope(stage: Stage, model: Model) -> Path:
    shutil.copy(AGENT, stage.workspace / "agent.py")
    place = stage.root / "scope.yaml"
    upstream = {"api": "anthropic", "upstream": f"http://127.0.0.1:{model.port}", "credential": "agent"}
    wanted = {"remit": 1, "task": "forged", "use": ["base", "python"], "files": {"write": ["."]}, "model": upstream}
    place.write_text(json.dumps(wanted))
    return place


def test_the_control_socket_is_out_of_reach_and_words_in_the_environment_mean_nothing(
    stage: Stage, model: Model
) -> None:
    evidence = stage.root / "evidence"
    forge = (
        "import json, socket\n"
        "try:\n"
        f"    end = socket.socket(socket.AF_UNIX); end.connect({str(evidence / 'control.sock')!r})\n"
        "    text = json.dumps({'do': 'step', 'mark': 'begin', 'step': 'forged', 'request': 1}).encode()\n"
        "    end.sendall(len(text).to_bytes(4, 'big') + text); end.recv(1)\n"
        "except OSError as problem: print(problem.strerror)\n"
    )
    (stage.workspace / "forge.py").write_text(forge)
    lines = ("python3 forge.py > said", "REMIT_STEP=call_1 STEP=call_1 TOOL_CALL_ID=call_1 touch later")
    model.turns = [[Call(f"call_{n}", "bash", {"command": line})] for n, line in enumerate(lines, start=1)]
    where = scope(stage, model)
    done = stage.remit(
        "run", "--scope", where, "--evidence", evidence, "--", "python3", "agent.py", "messages", "stream"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (stage.workspace / "said").read_text() == "Permission denied\n"
    assert [mark["step"] for mark in records(evidence, "step")] == ["call_1", "call_1", "call_2", "call_2"]
    (attempt,) = recorded(evidence, "connect", refused=True)
    assert attempt["address"] == str(evidence / "control.sock")
    assert attempt["clause"] == "network.unix"
    (later,) = [found for r, found in charged(evidence) if r["kind"] == "open" and r["path"].endswith("/later")]
    assert (later.step, later.attribution) == ("call_2", "proven")
    is_sound(evidence)


def test_another_sessions_gateway_serves_nobody_but_its_own(stage: Stage, model: Model, tmp_path: Path) -> None:
    other = new_stage(tmp_path / "other")
    wait = (
        "import os, time\n"
        "open('address', 'w').write(os.environ['ANTHROPIC_BASE_URL'])\n"
        "while not os.path.exists('go-on'): time.sleep(0.01)\n"
    )
    address = other.workspace / "address"
    with ended(other.start("run", "--scope", scope(other, model), "--", "python3", "-c", wait)) as session:
        where = wait_for(lambda: address.exists() and address.read_text(), "the other session")
        ask = (
            "import urllib.request as u\n"
            f"try: u.urlopen({where + '/v1/messages'!r}, b'{{}}', 5); print('served')\n"
            "except OSError as problem: print(problem)\n"
        )
        (stage.workspace / "ask.py").write_text(ask)
        port = where.rpartition(":")[2]
        granted = stage.root / "granted.yaml"
        for network in ({}, {"connect": [{"cidr": "127.0.0.1", "port": int(port)}]}):
            wanted = {
                "remit": 1,
                "task": "ask",
                "use": ["base", "python"],
                "files": {"read": ["."]},
                "network": network,
            }
            granted.write_text(json.dumps(wanted))
            done = stage.remit("run", "--scope", granted, "--", "python3", "ask.py")
            assert "served" not in done.stdout
            assert done.stdout != ""
        (other.workspace / "go-on").touch()
        assert session.wait(30) == 0
    refused = [r for place in stage.sessions.iterdir() for r in recorded(place, "connect", refused=True)]
    assert [(r["port"], r["clause"]) for r in refused] == [(int(port), "network.connect")]
    (call,) = recorded(other.evidence(), "model", mark="refused")
    assert (call["process"], call["reason"]) == (None, "who calls is no process of the session")
    assert model.requests == []
