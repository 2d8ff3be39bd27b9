"""A gateway before a harness that stands outside: its model's calls are steps, and nobody inside can use it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_model import Call, Model, serving
from stage import REMIT, Stage, charged, is_sound, recorded, records, wait_for

import remit

SECRET = "sk-outside-41c7"


@contextmanager
def gateway(stage: Stage, model: Model, session: remit.Session, *more: str) -> Iterator[dict[str, Any]]:
    """A running gateway, and where it says that it is."""
    command = [
        *REMIT, "gateway", "--api", "anthropic", "--upstream", f"http://127.0.0.1:{model.port}", "--json",
        "--credential", "env:MODEL_API_KEY", "--session", Path(session.evidence).name, *more,
    ]  # fmt: skip
    environment = {**stage.environment, "MODEL_API_KEY": SECRET}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def ask(end: http.client.HTTPConnection, history: list[dict[str, Any]]) -> Any:
    body = {"model": "m", "max_tokens": 10, "tools": [{"name": "bash"}], "messages": history}
    end.request("POST", "/v1/messages", json.dumps(body), {"Content-Type": "application/json"})
    answer = end.getresponse()
    return answer.status, json.loads(answer.read())


def result(call: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "ok"}]}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


@pytest.fixture
def model() -> Iterator[Model]:
    script = [[Call("call_1", "bash", {"command": "touch one"})], [Call("call_2", "bash", {"command": "touch two"})]]
    with serving(Model(script)) as made:
        yield made


@pytest.mark.parametrize("way", ["loopback", "unix"])
def test_the_calls_of_a_harness_outside_are_steps_that_its_programs_join(stage: Stage, model: Model, way: str) -> None:
    place = str(stage.root / "gateway.sock")
    more = ["--socket", place] if way == "unix" else []
    with remit.Session(workspace=stage.workspace) as session, gateway(stage, model, session, *more) as said:
        base = said["base_url"]
        assert said["variables"] == {"ANTHROPIC_BASE_URL": base, "ANTHROPIC_API_KEY": "remit-puts-the-key-in"}
        if way == "unix":
            assert base == f"http+unix://{place}"
            assert os.stat(place).st_mode & 0o777 == 0o600
            end: http.client.HTTPConnection = UnixConnection(place)
        else:
            end = http.client.HTTPConnection(base.removeprefix("http://"), timeout=20)
        history: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
        status, answer = ask(end, history)
        assert (status, answer["content"][0]["id"]) == (200, "call_1")
        command = stage.remit(
            "exec", "--session", Path(session.evidence).name, "--step", "call_1", "--", "touch", "one"
        )
        assert (command.returncode, command.stderr) == (0, "")
        history += [{"role": "assistant", "content": answer["content"]}, result("call_1")]
        status, answer = ask(end, history)
        assert answer["content"][0]["id"] == "call_2"
        with session.step("call_2", tool="bash"):
            session.run(["touch", "two"], check=True)
        ask(end, [*history, {"role": "assistant", "content": answer["content"]}, result("call_2")])
        end.close()
    marks = [(mark["mark"], mark["step"], mark["source"]) for mark in records(session.evidence, "step")]
    assert marks == [(word, f"call_{n}", "gateway") for n in (1, 2) for word in ("begin", "end")]
    found = {
        Path(record["path"]).name: (attribution.step, attribution.attribution)
        for record, attribution in charged(session.evidence)
        if record["kind"] == "open" and Path(record["path"]).name in ("one", "two")
    }
    assert found == {"one": ("call_1", "proven"), "two": ("call_2", "proven")}
    assert [headers.get("x-api-key") for _, headers, _ in model.requests] == [SECRET] * 3
    assert SECRET not in str(records(session.evidence))
    is_sound(session.evidence)


def test_nobody_inside_is_served_whatever_the_scope_grants(stage: Stage, model: Model) -> None:
    """A process of the session that reached it could open steps as the harness."""
    inside = stage.workspace / "gateway.sock"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scope = stage.root / "scope.yaml"
    network = {"connect": [{"cidr": "127.0.0.1", "port": port}], "unix": [str(inside)]}
    wanted = {"remit": 1, "task": "x", "use": ["base", "python"], "files": {"write": ["."]}, "network": network}
    scope.write_text(json.dumps(wanted))
    client = (
        "import http.client, socket, sys\n"
        "class Unix(http.client.HTTPConnection):\n"
        "    def connect(self):\n"
        "        self.sock = socket.socket(socket.AF_UNIX); self.sock.connect(sys.argv[2])\n"
        "end = Unix('x') if sys.argv[1] == 'unix' else http.client.HTTPConnection('127.0.0.1', int(sys.argv[2]))\n"
        "end.request('POST', '/v1/messages', '{}'); print(end.getresponse().status)\n"
    )
    for way, place in (("tcp", str(port)), ("unix", str(inside))):
        more = ["--socket", str(inside)] if way == "unix" else ["--listen", f"127.0.0.1:{port}"]
        with remit.Session(scope=scope, workspace=stage.workspace) as session, gateway(stage, model, session, *more):
            with session.step("call", tool="bash"):
                done = session.run(["python3", "-c", client, way, place], capture_output=True, text=True)
            assert (done.stdout, done.returncode) == ("403\n", 0), (way, done.stderr)
        (refusal,) = recorded(session.evidence, "model", mark="refused")
        assert refusal["reason"] == "who calls is inside the session"
    assert model.requests == []


def test_its_steps_end_with_it_and_it_ends_with_the_session(stage: Stage, model: Model) -> None:
    command = [*REMIT, "gateway", "--api", "anthropic", "--upstream", f"http://127.0.0.1:{model.port}"]
    with remit.Session(workspace=stage.workspace) as session:
        with gateway(stage, model, session) as said:
            end = http.client.HTTPConnection(said["base_url"].removeprefix("http://"), timeout=20)
            ask(end, [{"role": "user", "content": "go"}])
            end.close()
        wait_for(lambda: recorded(session.evidence, "step", mark="end"), "the end of its step")
        options: dict[str, Any] = {"env": stage.environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        waiting = subprocess.Popen(command, text=True, **options)
        assert waiting.stdout is not None
        assert waiting.stdout.readline().startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:")
    out, errors = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, errors) == (
        0, "", f"remit: the gateway serves session {Path(session.evidence).name} until Ctrl-C\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upstream", "http://model.example.com"], "--upstream: a credential would go over the network in clear"),
        (["--upstream", "https://a.example.com", "--credential", "sk-1"], "--credential: not a place of a credential"),
        (
            ["--upstream", "https://a.example.com", "--credential", "env:UNSET"],
            "the model's credential is not set: UNSET",
        ),
        (["--upstream", "https://a.example.com", "--listen", "0.0.0.0:1"], "not an address of loopback: 0.0.0.0:1"),
        (["--upstream", "https://a.example.com", "--socket", "/proc/x"], "cannot listen on /proc/x: "),
        (["--upstream", "https://a.example.com", "--session", "none"], "none"),
        ([], "missing: --upstream"),
    ],
)
def test_what_is_wrong_is_said(stage: Stage, words: list[str], said: str) -> None:
    with remit.Session(workspace=stage.workspace):
        done = stage.remit("gateway", "--api", "anthropic", *words)
    assert done.returncode in (2, 123)
    assert done.stdout == ""
    assert said in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kept", ["full", "hashes", "none"])
def test_what_a_model_says_to_a_harness_outside_is_recorded_as_it_chooses(
    stage: Stage, model: Model, kept: str
) -> None:
    model.texts = ["Let me see."]
    with (
        remit.Session(workspace=stage.workspace) as session,
        gateway(stage, model, session, "--transcript", kept) as said,
    ):
        end = http.client.HTTPConnection(said["base_url"].partition("//")[2], timeout=20)
        assert ask(end, [{"role": "user", "content": "go"}])[0] == 200
        end.close()
    found = [(turn["mark"], turn["caller"], turn["steps"], turn["texts"]) for turn in records(session.evidence, "turn")]
    if kept == "full":
        asked = ("request", None, [], [{"text": "go"}])
        assert found == [asked, ("answer", None, ["call_1"], [{"text": "Let me see."}])]
    else:
        assert len(found) == (2 if kept == "hashes" else 0)
        assert "Let me see." not in str(found)
