"""Bad input, and servers and clients that end, hang, flood and forge, on both sides of `remit mcp`."""

from __future__ import annotations

import contextlib
import json
import signal

import pytest
from mcp_client import acts, steps, talking
from stage import REMIT, Stage, charged, is_sound, nobody_left, recorded, wait_for

# Bad input


def test_what_cannot_be_read_is_answered_and_is_no_call_to_the_server(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        lines = (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call",\n',
            b'{"id":1,"method":"ping","method":"tools/call","params":{"name":"other"}}\n',
            b"\xff\xfe\n",
            b"[" * 5000 + b"\n",
        )
        for line in lines:
            client.send(line)
            said = json.loads(client.hear())
            assert (said["id"], said["error"]["code"]) == (None, -32700)
            assert said["error"]["message"].startswith("remit passes on only what it can read")
        assert client.call(2, "other")
        client.leave()
    evidence = stage.evidence()
    assert steps(evidence) == [("begin", "mcp:2", "other"), ("end", "mcp:2", "other")]
    unread = recorded(evidence, "mcp", mark="unread")
    assert [(record["from"], record["count"]) for record in unread] == [("client", 1), ("client", 2), ("client", 4)]


def test_a_server_that_talks_rubbish_for_ever_fills_no_evidence(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.call(1, "other", do="noise", lines=5000)
        client.leave()
    assert client.heard.count(b"not JSON at all\n") == 5000
    assert client.errors == "words of the server's own\n"
    assert len(recorded(stage.evidence(), "mcp", mark="unread")) == 13


def test_a_line_without_end_ends_the_conversation_in_words(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.say(id=1, method="tools/call", params={"name": "other", "arguments": {"do": "huge", "bytes": 80 << 20}})
        assert client.hear() == b""
        client.process.wait(20)
        assert b"longer than 67108864 bytes" in client.process.communicate()[1]
    assert [mark for mark, _, _ in steps(stage.evidence())] == ["begin", "end"]
    is_sound(stage.evidence())


def test_a_client_whose_line_has_no_end_is_told(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        with contextlib.suppress(BrokenPipeError):
            client.send(b"x" * (80 << 20))
        client.process.wait(20)
        assert b"longer than 67108864 bytes" in client.process.communicate()[1]
    is_sound(stage.evidence())


# Servers that end, hang and forge


def test_a_server_that_dies_ends_its_calls(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        for id in (1, 2):
            client.say(id=id, method="tools/call", params={"name": "other", "arguments": {"do": "hang"}})
        client.say(id=3, method="tools/call", params={"name": "other", "arguments": {"do": "die"}})
        assert client.hear() == b""
        assert client.process.wait(20) == 7
    evidence = stage.evidence()
    assert sorted(step for mark, step, _ in steps(evidence) if mark == "end") == ["mcp:1", "mcp:2", "mcp:3"]
    is_sound(evidence)
    nobody_left(evidence)


def test_a_server_of_a_tool_that_dies_is_an_error_of_its_call(stage: Stage) -> None:
    with talking(stage, "--each-call", "bash") as client:
        client.greet()
        client.say(id=1, method="tools/call", params={"name": "bash", "arguments": {"do": "die"}})
        assert client.answer(1)["error"]["message"] == "the server of this tool ended before it answered"
        assert client.call(2, "other")
        assert client.leave() == 0


def test_a_server_that_ends_its_output_ends_the_conversation(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.say(id=1, method="tools/call", params={"name": "other", "arguments": {"do": "close"}})
        assert client.hear() == b""
        client.process.wait(20)
    is_sound(stage.evidence())
    nobody_left(stage.evidence())


@pytest.mark.parametrize("how", ["hangs up", "SIGTERM", "SIGKILL"])
def test_a_client_that_goes_away_from_a_server_that_hangs(stage: Stage, how: str) -> None:
    with talking(stage) as client:
        client.greet()
        client.say(id=1, method="tools/call", params={"name": "other", "arguments": {"do": "hang"}})
        wait_for(lambda: recorded(stage.evidence(), "step", mark="begin"), "the call")
        if how != "hangs up":
            client.process.send_signal(signal.Signals[how])
            client.process.wait(20)
        else:
            assert client.leave() == 0
    evidence = stage.evidence()
    wait_for(lambda: recorded(evidence, "closed"), "the end")
    is_sound(evidence)
    nobody_left(evidence)


def test_a_server_cannot_mark_steps(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.say(id=7, method="tools/call", params={"name": "other", "arguments": {"do": "hang"}})
        client.call(1, "other", do="forge")
        client.call(2, "other", do="run", command=f"{REMIT[0]} -m remit.cli step; ls {stage.sessions}; env")
        client.leave()
    evidence = stage.evidence()
    assert [(mark, step) for mark, step, _ in steps(evidence)] == [
        ("begin", "mcp:7"), ("begin", "mcp:1"), ("end", "mcp:1"), ("begin", "mcp:2"), ("end", "mcp:2"), ("end", "mcp:7")
    ]  # fmt: skip
    assert [record["from"] for record in recorded(evidence, "mcp", mark="unread")] == ["server"]


def test_ids_that_repeat_are_steps_apart(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.call(1, "other", do="twice")
        client.hear()
        client.call(1, "other")
        for _ in range(2):
            client.say(id=5, method="tools/call", params={"name": "other", "arguments": {"do": "write", "path": "x"}})
        client.answer(5)
        client.answer(5)
        client.leave()
    evidence = stage.evidence()
    begun = [step for mark, step, _ in steps(evidence) if mark == "begin"]
    ended = [step for mark, step, _ in steps(evidence) if mark == "end"]
    assert begun == ended == ["mcp:1", "mcp:1#2", "mcp:5", "mcp:5#2"]


def test_an_earlier_call_that_may_still_be_at_work_is_a_candidate(stage: Stage) -> None:
    with talking(stage) as client:
        client.greet()
        client.say(
            id=1, method="tools/call", params={"name": "bash", "arguments": {"do": "hang", "command": "echo x > a"}}
        )
        client.say(method="notifications/cancelled", params={"requestId": 1})
        client.call(2, "bash", do="run", command="echo x > a")
        client.call(3, "bash", do="run", command="echo x > b")
        client.leave()
    evidence = stage.evidence()
    ((record, act),) = [(r, a) for r, a in charged(evidence) if r.get("path") == str(stage.workspace / "a")]
    assert act.attribution == "likely"
    assert set(act.candidates) == {"mcp:1", "mcp:2"}, record
    assert acts(evidence, stage.workspace / "b") == [("mcp:3", "proven")]


def test_a_verdict_ends_it(stage: Stage) -> None:
    with talking(stage, respond={"say-do-mismatch": "kill"}) as client:
        client.greet()
        client.list(1)
        client.say(id=2, method="tools/call", params={"name": "read", "arguments": {"do": "write", "path": "x"}})
        client.say(id=3, method="tools/call", params={"name": "read", "arguments": {"do": "hang"}})
        client.process.wait(20)
        assert b"ended by verdict" in client.process.communicate()[1]
        assert client.process.returncode == 120
    is_sound(stage.evidence())
    nobody_left(stage.evidence())


def test_a_mistake_is_told_before_anything_starts(stage: Stage) -> None:
    for words, status in (
        (["mcp"], 2),
        (["mcp", "--tool-scope", "read", "--", "true"], 2),
        (["mcp", "--scope", "missing.yaml", "--", "true"], 121),
        (["mcp", "--tool-scope", "read=missing.yaml", "--", "true"], 121),
        (["mcp", "--listen", "127.0.0.1:0", "--scope", "missing.yaml", "--", "true"], 121),
    ):
        done = stage.remit(*words)
        assert done.returncode == status, done.stderr
        assert done.stderr.startswith("remit: ")
        assert not done.stdout


def test_a_server_that_cannot_be_started_is_told(stage: Stage) -> None:
    with talking(stage, server=["no-such-server"]) as client:
        assert client.hear() == b""
        assert client.process.wait(20) == 127
        assert client.process.communicate()[1] == b"remit: cannot run no-such-server: not found\n"
