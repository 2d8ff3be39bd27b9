"""MCP servers behind `remit mcp`: what both sides say is what they would say without it, and each call is a step."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mcp_client import acts, findings, scope, steps, talking
from stage import Record, Stage, is_sound, nobody_left, recorded, records, wait_for

CONVERSATION = [
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}\n',
    b'{"method":"notifications/initialized","jsonrpc":"2.0"}\n',
    b'  {"jsonrpc": "2.0", "id": "list", "method": "tools/list", "params": {"cursor": null}}\n',
    (
        b'{"id":1,"jsonrpc":"2.0","method":"tools/call","params":{"_meta":{"progressToken":"t","x":[null]},"name":"read",'
        b'"arguments":{"do":"progress","text":"\\ud83d\\ude00 \xc3\xa9","big":123456789012345678901234567890}}}\n'
    ),
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}\n',
    b"\n",
    b'{"jsonrpc":"2.0","id":2,"method":"no/such","params":{}}\n',
    b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"other","arguments":{"do":"noise","lines":2}}}\n',
    b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"other"}}',  # cut: no end of the line
]


def test_both_sides_hear_what_they_would_hear_without_remit(stage: Stage) -> None:
    heard = []
    for bare in (True, False):
        with talking(stage, bare=bare) as client:
            out, _ = client.process.communicate(b"".join(CONVERSATION), timeout=40)
            assert client.process.returncode == 0
        pid = str([json.loads(line) for line in out.splitlines() if line.startswith(b"{")][-1]["result"])
        heard.append(out.replace(json.loads(pid.replace("'", '"'))["content"][0]["text"].encode(), b"PID"))
    assert heard[0] == heard[1]
    assert heard[0].count(b"notifications/progress") == 2
    evidence = stage.evidence()
    assert [step for mark, step, _ in steps(evidence) if mark == "begin"] == ["mcp:1", "mcp:3", "mcp:4"]
    assert [step for mark, step, _ in steps(evidence) if mark == "end"] == ["mcp:1", "mcp:3", "mcp:4"]
    assert recorded(evidence, "step", mark="begin", step="mcp:1")[0]["arguments"]["big"] == int("1234567890" * 3)
    is_sound(evidence)
    nobody_left(evidence)


def test_each_call_is_a_step_and_the_walls_hold_for_the_server(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.list("tools")
        target = stage.workspace / "out"
        client.call(1, "write", do="write", path=str(target))
        assert client.call(2, "other", do="denied") in ("Permission denied", "Read-only file system")
        assert client.call("two", "bash", do="run", command="echo hello > said; cat said") == "hello\n"
        assert client.leave() == 0
    evidence = stage.evidence()
    assert steps(evidence) == [
        (mark, step, tool)
        for step, tool in (("mcp:1", "write"), ("mcp:2", "other"), ("mcp:two", "bash"))
        for mark in ("begin", "end")
    ]
    assert acts(evidence, target) == [("mcp:1", "likely")]
    assert acts(evidence, Path("/etc/remit-mcp")) == [("mcp:2", "likely")]
    # The program that a call asks for is that call's, and its children too.
    assert acts(evidence, stage.workspace / "said") == [("mcp:two", "proven")]
    assert not findings(evidence, "say-do-mismatch")
    is_sound(evidence)
    nobody_left(evidence)


def test_a_tool_that_lies_is_found_at_its_step_and_an_honest_one_is_not(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.list("tools")
        client.call(1, "write", do="write", path="honest")
        client.call(2, "read", do="denied")
        client.call(3, "read", do="run", command="(setsid bash -c 'echo x > late' &) ; cat honest")
        client.call(4, "read", do="run", command="cat honest > /dev/null; echo x > $TMPDIR/scratch")
        client.call(5, "read", do="connect", host="9.9.9.9")
        wait_for(lambda: (stage.workspace / "late").exists(), "the background job")
        client.leave()
    evidence = stage.evidence()
    found = {finding["step"]: finding for finding in findings(evidence, "say-do-mismatch")}
    assert set(found) == {"mcp:2", "mcp:3", "mcp:5"}
    assert [found[step]["state"] for step in found] == ["attempted", "succeeded", "attempted"]
    assert (found["mcp:3"]["attribution"], found["mcp:3"]["severity"]) == ("proven", "high")
    assert "openWorldHint" in found["mcp:5"]["summary"]
    is_sound(evidence)


def test_full_sight_finds_what_is_renamed_and_removed(stage: Stage) -> None:
    for name in ("over", "gone"):
        (stage.workspace / name).write_text("before")
    with talking(stage, "--sight", "full") as client:
        client.greet()
        client.list("tools")
        client.call(1, "read", do="rename", path=str(stage.workspace / "over"))
        client.call(2, "read", do="unlink", path=str(stage.workspace / "gone"))
        client.call(3, "read", do="run", command="cat over; ls -l . > /dev/null")
        client.leave()
    found = {finding["step"]: finding["summary"] for finding in findings(stage.evidence(), "say-do-mismatch")}
    assert set(found) == {"mcp:1", "mcp:2"}
    assert "did rename" in found["mcp:1"]
    assert "did unlink" in found["mcp:2"]
    is_sound(stage.evidence())


def test_a_tool_that_the_server_does_not_have_is_told(stage: Stage) -> None:
    """A name with a mistake in it would leave the tool the wide scope."""
    with talking(stage, "--each-call", "reed") as client:
        client.greet()
        client.list("tools")
        client.list("tools again")
        client.leave()
    assert client.errors.count("the server has no tool of this name, which was given a scope or servers: reed") == 1


def test_a_server_for_each_call_proves_what_it_does_itself(stage: Stage) -> None:
    with talking(stage, "--each-call", "read") as client:
        client.greet()
        client.list("tools")
        ours = client.call(1, "write", do="write", path="one")
        first, second = (client.call(id, "read", do="write", path=f"{id}") for id in (2, 3))
        assert len({ours, first, second}) == 3
        assert client.call(4, "write") == ours
        client.leave()
    evidence = stage.evidence()
    assert acts(evidence, stage.workspace / "2") == [("mcp:2", "proven")]
    assert acts(evidence, stage.workspace / "3") == [("mcp:3", "proven")]
    (server,) = {record["caller"] for record in records(evidence, "step") if record.get("caller")}
    for record in recorded(evidence, "step", mark="end"):
        assert record["left_running"] == [server]
    assert acts(evidence, stage.workspace / "one") == [("mcp:1", "likely")]
    assert {finding["step"] for finding in findings(evidence, "say-do-mismatch")} == {"mcp:2", "mcp:3"}
    is_sound(evidence)
    nobody_left(evidence)


@pytest.mark.parametrize("more", [(), ("--each-call", "read")], ids=["one server", "one for each call"])
def test_a_tool_with_a_scope_of_its_own(stage: Stage, more: tuple[str, ...]) -> None:
    narrow = stage.root / "narrow.yaml"
    files = {"read": ["$WORKSPACE", str(Path(sys.prefix))], "write": ["$TMPDIR"]}
    narrow.write_text(json.dumps({"remit": 1, "task": "narrow", "use": ["base", "python"], "files": files}))
    with talking(stage, "--tool-scope", f"read={narrow}", *more) as client:
        client.greet()
        client.list("tools")
        client.call(1, "write", do="write", path="one")
        assert client.call(2, "other", do="run", command="echo x > two; ls two") == "two\n"
        assert client.call(3, "read", do="run", command="echo x > three; ls three") == ""
        client.say(id=4, method="tools/call", params={"name": "read", "arguments": {"do": "ask"}})
        while "method" not in (asked := json.loads(client.hear())):
            pass
        client.say(id=asked["id"], result={"action": "accept"})
        assert client.answer(4)["result"]["content"][0]["text"] == "accept"
        assert client.leave() == 0
    main, beside = sorted(stage.sessions.iterdir(), key=lambda place: len(records(place, "session")[0]["labels"]))
    assert [step for mark, step, _ in steps(main) if mark == "end"] == ["mcp:1", "mcp:2"]
    assert [step for mark, step, _ in steps(beside) if mark == "end"] == ["mcp:3", "mcp:4"]
    assert records(beside, "session")[0]["labels"] == {"mcp-session": main.name, "mcp-tools": "read"}
    assert {finding["step"] for finding in findings(beside, "say-do-mismatch")} == {"mcp:3"}
    assert not (stage.workspace / "three").exists()
    for evidence in (main, beside):
        is_sound(evidence)
        nobody_left(evidence)


def test_a_tool_that_has_changed_since_it_was_known_is_found_until_it_is_accepted(stage: Stage) -> None:
    tools = stage.workspace / "tools.json"
    said = {"name": "read", "description": "Reads.", "inputSchema": {"type": "object"}}

    def session(description: str, *options: str) -> tuple[list[Record], str]:
        before = set(stage.sessions.iterdir()) if stage.sessions.exists() else set()
        tools.write_text(json.dumps([{**said, "description": description}]))
        with talking(stage, *options, server=[sys.executable, "small_mcp_server.py", "tools.json"]) as client:
            client.greet()
            client.list(1)
            client.leave()
        (evidence,) = set(stage.sessions.iterdir()) - before
        is_sound(evidence)
        return findings(evidence, "tool-changed"), client.errors

    found, errors = session("Reads.")
    assert not found
    assert "first" in errors
    assert session("Reads.") == ([], "")
    for options in ((), ("--accept-tools",)):
        (finding,), _ = session("Reads, and sends.", *options)
        assert finding["severity"] == "medium"
        assert "tool read has changed since an earlier session: description" in finding["summary"]
    assert session("Reads, and sends.") == ([], "")
    assert session("Reads.")[0]


def test_the_agent_can_be_told_nothing_of_what_is_known(stage: Stage) -> None:
    known = stage.root / "state" / "remit" / "mcp"
    known.mkdir(parents=True)
    place = scope(stage, files={"write": [str(known)]})
    done = stage.remit("mcp", "--scope", place, "--", "true")
    assert done.returncode == 121
    assert "tools" in done.stderr
