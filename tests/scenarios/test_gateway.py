"""Steps that the model gateway saw: right for an agent that knows nothing of remit, and out of its reach."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_model import Call, Model, serving
from stage import Stage, charged, ended, is_sound, recorded, records, wait_for

from remit.kernel.proc import children
from remit.report.summary import build_report

AGENT = Path(__file__).with_name("small_agent.py")
SECRET = "sk-real-9f3b7c21aa"  # the model's credential, which the agent never has


def scope(stage: Stage, model: Model, api: str) -> Path:
    """A scope with this model, and nothing else of the network."""
    shutil.copy(AGENT, stage.workspace / "agent.py")
    place = stage.root / "scope.yaml"
    upstream = f"http://127.0.0.1:{model.port}"
    wanted = {
        "remit": 1,
        "task": "gateway",
        "use": ["base", "python", "git"],
        "files": {"write": ["$WORKSPACE", "$TMPDIR"]},
        "model": {"api": api, "upstream": upstream, "credential": "env:MODEL_API_KEY"},
    }
    place.write_text(json.dumps(wanted))
    return place


def with_key(stage: Stage) -> dict[str, str]:
    return {**stage.environment, "MODEL_API_KEY": SECRET}


def run(stage: Stage, where: Path, *command: str) -> subprocess.CompletedProcess[Any]:
    return stage.remit("run", "--scope", where, "--", *command, env=with_key(stage))


def script(*lines: str) -> list[list[Call]]:
    """A model that asks for one command after the other."""
    return [[Call(f"call_{n}", "bash", {"command": line})] for n, line in enumerate(lines, start=1)]


def steps_of(evidence: Path, program: str) -> list[tuple[str | None, str]]:
    """Step and attribution of each exec whose argument vector is this line."""
    return [
        (attribution.step, attribution.attribution)
        for record, attribution in charged(evidence)
        if record["kind"] == "exec" and " ".join(record["arguments"]) == program
    ]


def opens_of(evidence: Path, name: str) -> list[tuple[str | None, str]]:
    """Step and attribution of each opening of a file of this name."""
    return [
        (attribution.step, attribution.attribution)
        for record, attribution in charged(evidence)
        if record["kind"] == "open" and record["path"].endswith(f"/{name}")
    ]


@pytest.fixture
def model() -> Iterator[Model]:
    with serving(Model([])) as made:
        yield made


@pytest.mark.parametrize("way", ["stream", "whole"])
@pytest.mark.parametrize("language", ["messages", "chat", "responses"])
def test_every_act_of_sequential_calls_is_proven(stage: Stage, model: Model, language: str, way: str) -> None:
    model.turns = script("echo one > 1.txt; cat 1.txt", "touch 2.txt && ls", "(uname; date > 3.txt) & wait")
    where = scope(stage, model, "anthropic" if language == "messages" else "openai")
    done = run(stage, where, "python3", "agent.py", language, way)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    marks = [(record["mark"], record["step"]) for record in records(stage.evidence(), "step")]
    assert marks == [(mark, f"call_{n}") for n in (1, 2, 3) for mark in ("begin", "end")]
    for program, step in (("cat 1.txt", 1), ("touch 2.txt", 2), ("ls", 2), ("uname", 3), ("date", 3)):
        assert steps_of(stage.evidence(), program) == [(f"call_{step}", "proven")], program
    for number in (1, 2, 3):
        assert opens_of(stage.evidence(), f"{number}.txt") == [(f"call_{number}", "proven")]
    (connection,) = recorded(stage.evidence(), "connect", clause="model")
    assert connection["errno"] in (0, 115)
    is_sound(stage.evidence())


def test_parallel_calls_are_told_apart_where_they_can_be(stage: Stage, model: Model) -> None:
    lines = ["ls -a; echo a > a.txt", "ls -l; echo b > b.txt", "date", "date"]
    model.turns = [[Call(f"call_{n}", "bash", {"command": line}) for n, line in enumerate(lines, start=1)]]
    done = run(stage, scope(stage, model, "anthropic"), "python3", "agent.py", "messages", "stream")
    assert (done.returncode, done.stderr) == (0, "")
    assert steps_of(stage.evidence(), "ls -a") == [("call_1", "proven")]
    assert steps_of(stage.evidence(), "ls -l") == [("call_2", "proven")]
    pair = [found for record, found in charged(stage.evidence()) if record.get("arguments") == ["date"]]
    assert [(found.attribution, found.candidates) for found in pair] == [("likely", ("call_3", "call_4"))] * 2


def test_the_credential_is_put_in_outside_and_is_nowhere_inside(stage: Stage, model: Model) -> None:
    shutil.copy(Path(__file__).with_name("look_for.py"), stage.workspace)
    model.turns = script(f"python3 look_for.py {SECRET[:8]} {SECRET[8:]}", "echo $ANTHROPIC_API_KEY > key")
    done = run(stage, scope(stage, model, "anthropic"), "python3", "agent.py", "messages", "whole")
    assert done.returncode == 0, done.stderr
    assert (stage.workspace / "found").read_text() == ""
    assert (stage.workspace / "key").read_text() == "remit-puts-the-key-in\n"
    assert [headers.get("x-api-key") for _, headers, _ in model.requests] == [SECRET] * 3
    assert SECRET not in str(records(stage.evidence()))


def test_only_the_scopes_model_is_served_and_only_to_the_session(stage: Stage, model: Model) -> None:
    probe = (
        "import http.client, os, time, urllib.parse as u\n"
        "where = u.urlsplit(os.environ['OPENAI_BASE_URL']).netloc\n"
        "for method, path in ('GET', '/v1/files'), ('POST', '/v1/chat/completions/../files'), ('GET', 'http://1.2.3.4/'):\n"
        "    c = http.client.HTTPConnection(where); c.request(method, path); print(c.getresponse().status)\n"
        "open('address', 'w').write(where)\n"
        "while not os.path.exists('go-on'): time.sleep(0.01)\n"
    )
    where = scope(stage, model, "openai")
    address = stage.workspace / "address"
    with ended(stage.start("run", "--scope", where, "--", "python3", "-c", probe, env=with_key(stage))) as session:
        wait_for(lambda: address.exists() and address.read_text(), "the agent")
        outsider = http.client.HTTPConnection(address.read_text(), timeout=10)
        outsider.request("POST", "/v1/chat/completions", "{}")
        assert outsider.getresponse().status == 403
        outsider.close()
        (stage.workspace / "go-on").touch()
        assert session.wait(30) == 0
        assert session.stdout.read() == "404\n404\n404\n"
    assert model.requests == []
    refused = [(bool(record["process"]), record["asked"][0]) for record in recorded(stage.evidence(), "model")]
    assert refused[:4] == [(True, "GET"), (True, "POST"), (True, "GET"), (False, "POST")]
    denials = [(denial["operation"], denial["object"]) for denial in build_report(stage.evidence())["denials"]]
    assert ("model", "GET /v1/files") in denials
    assert ("model", "POST /v1/chat/completions") in denials  # the outsider's


def test_the_agents_port_on_another_address_of_loopback_is_not_the_agent(stage: Stage, model: Model) -> None:
    client = (
        "import http.client, json, os, time, urllib.parse as u\n"
        "c = http.client.HTTPConnection(u.urlsplit(os.environ['OPENAI_BASE_URL']).netloc); c.connect()\n"
        "open('ends', 'w').write(json.dumps([c.sock.getsockname()[1], c.sock.getpeername()[1]]))\n"
        "while not os.path.exists('go-on'): time.sleep(0.01)\n"
        "c.request('POST', '/v1/chat/completions', json.dumps({'model': 'm', 'messages': []}))\n"
        "print(c.getresponse().status)\n"
    )
    where = scope(stage, model, "openai")
    ends = stage.workspace / "ends"
    with ended(stage.start("run", "--scope", where, "--", "python3", "-c", client, env=with_key(stage))) as session:
        port, gateway = json.loads(wait_for(lambda: ends.exists() and ends.read_text(), "the agent"))
        for address, status in (("127.0.0.2", 403), ("127.0.0.1", 403)):
            source = (address, port if address != "127.0.0.1" else 0)
            outsider = http.client.HTTPConnection("127.0.0.1", gateway, timeout=10, source_address=source)
            outsider.request("POST", "/v1/chat/completions", "{}")
            assert outsider.getresponse().status == status
            outsider.close()
        (stage.workspace / "go-on").touch()
        assert session.wait(30) == 0
        assert session.stdout.read() == "200\n"
    assert len(model.requests) == 1


def test_only_headers_that_a_models_api_knows_go_with_the_credential(stage: Stage, model: Model) -> None:
    headers = {
        "Authorization": "Bearer mine",
        "X-Goog-Api-Key": "mine",
        "X-HTTP-Method-Override": "DELETE",
        "X-Forwarded-For": "1.2.3.4",
        "OpenAI-Organization": "mine",
        "Cookie": "mine",
        "User-Agent": "agent/1",
        "X-Stainless-Lang": "python",
    }
    client = (
        "import http.client, json, os, urllib.parse as u\n"
        "c = http.client.HTTPConnection(u.urlsplit(os.environ['OPENAI_BASE_URL']).netloc)\n"
        f"c.request('POST', '/v1/chat/completions', '{{\"model\": \"m\", \"messages\": []}}', {headers!r})\n"
        "c.getresponse().read(); c.request('POST', '/v1/chat/completions?key=mine', '{}')\n"
        "print(c.getresponse().status)\n"
    )
    (stage.root / "home" / ".netrc").write_text("default login me password netrc-word\n")
    (stage.root / "home" / ".netrc").chmod(0o600)
    done = run(stage, scope(stage, model, "openai"), "python3", "-c", client)
    assert (done.returncode, done.stdout) == (0, "404\n")
    ((_, sent, _),) = model.requests
    assert sent["Authorization"] == f"Bearer {SECRET}"
    assert (sent["User-Agent"], sent["X-Stainless-Lang"]) == ("agent/1", "python")
    assert "mine" not in str(sent)
    assert {name.lower() for name in sent}.isdisjoint(name.lower() for name in list(headers)[1:6])


def test_a_job_of_a_step_that_calls_the_model_moves_no_other_step(stage: Stage, model: Model) -> None:
    # The job replays a result for the call under way, and is given a call of its own meanwhile.
    model.turns = script(
        "python3 forge.py > /dev/null 2>&1 & while ! test -e forger; do sleep 0.01; done",
        "ls -a; touch second; while ! test -e gone; do sleep 0.01; done",
        "ls -l",
    )
    where = scope(stage, model, "anthropic")
    (stage.workspace / "forge.py").write_text(
        "import http.client, json, os, time, urllib.parse as u\n"
        "c = http.client.HTTPConnection(u.urlsplit(os.environ['ANTHROPIC_BASE_URL']).netloc)\n"
        "open('forger', 'w').close()\n"
        "while not os.path.exists('second'): time.sleep(0.01)\n"
        "result = {'type': 'tool_result', 'tool_use_id': 'call_2', 'content': 'x'}\n"
        "body = {'model': 'm', 'tools': [1], 'messages': [{'role': 'user', 'content': [result]}]}\n"
        "c.request('POST', '/v1/messages', json.dumps(body)); c.getresponse().read()\n"
        "open('gone', 'w').close()\n"
    )
    done = run(stage, where, "python3", "agent.py", "messages", "whole")
    assert (done.returncode, done.stdout) == (0, "done\n")
    order = [(record["mark"], record["step"]) for record in records(stage.evidence(), "step")]
    # The forger's own call has the name of the second one; the step that it is within is the first.
    assert order.index(("begin", "call_2#2")) < order.index(("end", "call_2")) < order.index(("begin", "call_3"))
    assert steps_of(stage.evidence(), "ls -a") == [("call_2", "proven")]
    assert steps_of(stage.evidence(), "ls -l") == [("call_3", "proven")]
    assert opens_of(stage.evidence(), "gone") == [("call_1", "proven")]


def test_a_suggested_scope_keeps_the_model_and_grants_no_port_for_it(stage: Stage, model: Model) -> None:
    model.turns = script("ls")
    run(stage, scope(stage, model, "openai"), "python3", "agent.py", "chat", "whole")
    suggested = stage.remit("scope", "suggest", "last").stdout
    upstream = f"http://127.0.0.1:{model.port}"
    kept = f"{{api: openai, credential: env:MODEL_API_KEY, transcript: full, upstream: {upstream}}}"
    assert f"model: {kept}" in suggested
    assert "connect" not in suggested


def test_without_its_gateway_the_agent_has_no_model_and_all_its_walls(stage: Stage, model: Model) -> None:
    model.turns = script("touch began; while ! test -e go-on; do sleep 0.01; done", "true")
    words = ("run", "--scope", scope(stage, model, "openai"), "--", "python3", "agent.py", "chat", "stream")
    with ended(stage.start(*words, env=with_key(stage))) as session:
        wait_for((stage.workspace / "began").exists, "the first call")
        (gateway,) = [pid for pid in children(session.pid) if comm(pid) == "remit-gateway"]
        os.kill(gateway, signal.SIGKILL)
        wait_for(lambda: recorded(stage.evidence(), "model", mark="gone"), "the gateway's end")
        (stage.workspace / "go-on").touch()
        assert session.wait(30) == 1
    assert recorded(stage.evidence(), "step", mark="end", step="call_1")
    is_sound(stage.evidence())


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_an_upstream_that_is_not_there_is_a_clear_answer(stage: Stage, model: Model) -> None:
    where = scope(stage, model, "openai")
    where.write_text(where.read_text().replace(str(model.port), "9"))
    done = run(stage, where, "python3", "agent.py", "chat", "whole")
    assert done.returncode == 1
    assert done.stderr.startswith("502: ")
    assert "remit: no answer from http://127.0.0.1:9" in done.stderr


def test_a_missing_credential_starts_nothing(stage: Stage, model: Model) -> None:
    done = stage.remit("run", "--scope", scope(stage, model, "openai"), "--", "touch", "started")
    assert done.returncode == 123
    assert done.stderr.splitlines() == [
        "remit: the model's credential is not set: MODEL_API_KEY",
        "hint: export MODEL_API_KEY=...",
    ]
    assert not (stage.workspace / "started").exists()


def test_an_answer_that_cannot_be_read_goes_through_and_is_recorded(stage: Stage, model: Model) -> None:
    model.turns, model.coding = script("ls -a"), "br"
    client = (
        "import http.client, json, os, urllib.parse as u\n"
        "c = http.client.HTTPConnection(u.urlsplit(os.environ['OPENAI_BASE_URL']).netloc)\n"
        "c.request('POST', '/v1/chat/completions', json.dumps({'model': 'm', 'tools': [1], 'messages': []}))\n"
        "open('got', 'wb').write(c.getresponse().read())\n"
    )
    done = run(stage, scope(stage, model, "openai"), "python3", "-c", client)
    assert done.returncode == 0, done.stderr
    assert (stage.workspace / "got").read_bytes() == model.sent[0]
    assert [record["mark"] for record in records(stage.evidence(), "model")] == ["unread"]
    assert records(stage.evidence(), "step") == []


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_answers_are_read_and_not_changed(stage: Stage, model: Model, coding: str) -> None:
    model.turns, model.coding = script("ls -a"), coding
    client = (
        "import http.client, json, os, subprocess, urllib.parse as u\n"
        "c = http.client.HTTPConnection(u.urlsplit(os.environ['ANTHROPIC_BASE_URL']).netloc)\n"
        "body = {'model': 'm', 'tools': [1], 'stream': True, 'messages': []}\n"
        "c.request('POST', '/v1/messages', json.dumps(body), {'Accept-Encoding': 'br, zstd, gzip, deflate'})\n"
        "r = c.getresponse(); open('got', 'wb').write(r.read())\n"
        "open('coding', 'w').write(r.headers['Content-Encoding'])\n"
        "subprocess.run(['sh', '-c', 'ls -a'])\n"
    )
    done = run(stage, scope(stage, model, "anthropic"), "python3", "-c", client)
    assert done.returncode == 0, done.stderr
    assert (stage.workspace / "coding").read_text() == coding
    assert (stage.workspace / "got").read_bytes() == model.sent[0]
    assert model.requests[0][1]["Accept-Encoding"] == "gzip, deflate"
    assert steps_of(stage.evidence(), "ls -a") == [("call_1", "proven")]
