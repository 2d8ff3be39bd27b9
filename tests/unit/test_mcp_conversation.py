"""Who gets what of an MCP conversation with several servers, and which steps begin and end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.clock.mcp_conversation import Conversation
from remit.clock.mcp_tools import KnownTools


class Server:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.steps: list[tuple[str, str]] = []
        self.records: list[dict[str, Any]] = []

    def write(self, line: bytes) -> None:
        self.told.append(json.loads(line))

    def begin(self, step: str, tool: str, arguments: Any) -> Server:
        self.steps.append(("begin", step))
        return self

    def end(self, step: str) -> None:
        self.steps.append(("end", step))

    def record(self, mark: str, **members: Any) -> None:
        self.records.append({"mark": mark, **members})


class Talk:
    """A conversation with a main server, and one for the tool `side`."""

    def __init__(self, tmp_path: Path) -> None:
        self.main, self.side = Server(), Server()
        self.heard: list[Any] = []
        self.warned: list[str] = []
        known = KnownTools(str(tmp_path / "known" / "a.json"), [])
        self.conversation = Conversation(
            self.main, {"side": self.side}, known, lambda line: self.heard.append(json.loads(line)), self.warned.append
        )

    def ask(self, **message: Any) -> None:
        self.conversation.from_client(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def call(self, id: Any, tool: str) -> None:
        self.ask(id=id, method="tools/call", params={"name": tool})

    def say(self, server: Server, **message: Any) -> None:
        self.conversation.from_server(server, json.dumps(message).encode() + b"\n")


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_a_call_goes_to_its_tools_server_and_to_no_other(talk: Talk) -> None:
    talk.call(1, "side")
    talk.call(2, "other")
    assert [message["id"] for message in talk.side.told] == [1]
    assert [message["id"] for message in talk.main.told] == [2]
    talk.say(talk.side, id=1, result={})
    assert talk.side.steps == [("begin", "mcp:1"), ("end", "mcp:1")]
    assert talk.main.steps == [("begin", "mcp:2")]
    assert talk.heard == [{"id": 1, "result": {}}]


@pytest.mark.parametrize("forger", ["main", "side"])
def test_only_who_was_given_a_call_answers_it(talk: Talk, forger: str) -> None:
    tool, forging, true = ("side", talk.main, talk.side) if forger == "main" else ("other", talk.side, talk.main)
    talk.call(1, tool)
    talk.say(forging, id=1, result="forged")
    assert (talk.heard, true.steps) == ([], [("begin", "mcp:1")])
    assert [record["reason"] for record in talk.main.records] == ["an answer to a call that another server was given"]
    talk.say(true, id=1, result="true")
    assert talk.heard == [{"id": 1, "result": "true"}]


def test_the_greeting_goes_to_all_and_the_main_servers_answer_counts(talk: Talk) -> None:
    talk.ask(id=0, method="initialize", params={})
    talk.ask(method="notifications/initialized")
    assert talk.side.told == talk.main.told
    talk.say(talk.side, id=0, result="side")
    talk.say(talk.main, id=0, result="main")
    assert [message["result"] for message in talk.heard] == ["main"]


def test_what_two_servers_ask_the_client_comes_back_to_each(talk: Talk) -> None:
    talk.say(talk.main, id=1, method="elicitation/create")
    talk.say(talk.side, id=1, method="elicitation/create")
    ours, theirs = (message["id"] for message in talk.heard)
    assert ours == 1
    assert theirs not in (1, "1")
    talk.ask(id=theirs, result="side")
    talk.ask(id=1, result="main")
    assert [(message["id"], message["result"]) for message in talk.side.told] == [(1, "side")]
    assert [(message["id"], message["result"]) for message in talk.main.told] == [(1, "main")]


def test_a_server_takes_back_only_what_it_asked_itself(talk: Talk) -> None:
    talk.say(talk.main, id=1, method="elicitation/create")
    talk.say(talk.side, method="notifications/cancelled", params={"requestId": 1})
    assert len(talk.heard) == 1
    talk.say(talk.side, id=1, method="elicitation/create")
    talk.say(talk.side, method="notifications/cancelled", params={"requestId": 1})
    assert talk.heard[2]["params"]["requestId"] == talk.heard[1]["id"]


def test_a_server_that_is_gone_has_answered(talk: Talk) -> None:
    talk.call(1, "side")
    talk.conversation.gone(talk.side)  # type: ignore[arg-type]
    assert talk.side.steps == [("begin", "mcp:1"), ("end", "mcp:1")]
    talk.call(2, "side")
    assert talk.side.steps[2:] == []
    assert [(message["id"], message["error"]["code"]) for message in talk.heard] == [(1, -32000), (2, -32000)]
    talk.call(3, "other")
    assert talk.main.steps == [("begin", "mcp:3")]


def test_a_batch_is_refused_where_its_calls_may_be_for_several(talk: Talk) -> None:
    batch = [{"id": id, "method": "tools/call", "params": {"name": name}} for id, name in ((1, "side"), (2, "other"))]
    talk.conversation.from_client(json.dumps(batch).encode())
    assert (talk.main.told, talk.side.told, talk.main.steps) == ([], [], [])
    assert talk.heard[0]["error"]["code"] == -32600


def test_what_a_server_lists_is_recorded_where_its_calls_go(talk: Talk) -> None:
    talk.say(talk.main, id=5, result={"tools": [{"name": "forged"}]})  # nobody has asked
    talk.ask(id=5, method="tools/list")
    for _ in range(2):
        talk.say(talk.main, id=5, result={"tools": [{"name": "side"}, {"name": "other"}]})
    assert [(record["mark"], record["tool"]) for record in talk.side.records] == [("listed", "side")]
    assert [(record["mark"], record["tool"]) for record in talk.main.records] == [("listed", "other")]
    assert talk.warned == ["seen for the first time, and trusted: 2 tool(s) of this server"]


def test_tools_without_end_are_not_recorded_without_end(talk: Talk) -> None:
    talk.ask(id=1, method="tools/list")
    talk.say(talk.main, id=1, result={"tools": [{"name": f"t{number}"} for number in range(2000)]})
    assert len(talk.main.records) == 513
    assert talk.main.records[-1] == {"mark": "unread", "reason": "more than 512 tools", "count": 1, "from": "server"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["tools", "name"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "tools", "annotations", "requestId", "arguments", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([1, 2, "1", 1.0, None, True]) | VALUES,
        "method": st.sampled_from(["tools/call", "tools/list", "notifications/cancelled", "initialize"]) | VALUES,
        "params": VALUES,
        "result": VALUES,
        "error": VALUES,
    },
)
LINES = (
    st.binary(max_size=40)
    | MESSAGES.map(lambda said: json.dumps(said).encode())
    | st.lists(MESSAGES, max_size=2).map(lambda said: json.dumps(said).encode())
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["client", "main", "side"]), LINES), max_size=12))
def test_whatever_is_said_nothing_fails_and_every_step_ends_once(tmp_path: Path, said: list[tuple[str, bytes]]) -> None:
    talk = Talk(tmp_path)
    conversation = talk.conversation
    conversation._to_client = lambda line: None
    for server in (talk.main, talk.side):
        server.write = lambda line: None  # type: ignore[method-assign]
    for speaker, line in said:
        if speaker == "client":
            conversation.from_client(line)
        else:
            conversation.from_server(talk.main if speaker == "main" else talk.side, line)
    conversation.over()
    for server in (talk.main, talk.side):
        assert sorted(step for mark, step in server.steps if mark == "begin") == sorted(
            step for mark, step in server.steps if mark == "end"
        )
        json.dumps(server.records, allow_nan=False)


def test_everything_ends_with_the_conversation(talk: Talk) -> None:
    talk.call(1, "side")
    talk.ask(method="tools/call", params={"name": "other"})
    talk.conversation.over()
    assert talk.side.steps == [("begin", "mcp:1"), ("end", "mcp:1")]
    assert talk.main.steps == [("begin", "mcp:notification"), ("end", "mcp:notification")]
