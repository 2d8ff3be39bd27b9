"""Tool calls are read from any answer, however it is cut into pieces, and nothing is read from rubbish."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.clock.events import LONGEST_EVENT
from remit.clock.model_api import CHAT, MESSAGES, RESPONSES, AnswerReader, ToolCall, results_in

sys.path.insert(0, str(Path(__file__).parents[1] / "scenarios"))
from scripted_model import Call, Model

PATHS = {MESSAGES: "/v1/messages", CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses"}
CALLS = [Call("call_1", "bash", {"command": "ls 'é' \"\\n\" \n"}), Call("call_2", "edit", {"path": "a", "n": [1, {}]})]
EXPECTED = [ToolCall(*call) for call in CALLS]


def answer(language: str, calls: list[Call] = CALLS, *, streamed: bool = True) -> bytes:
    request: dict[str, Any] = {"model": "m", "messages": [], "input": [], "tools": [{}], "stream": streamed}
    return b"".join(Model([calls]).answer(PATHS[language], request)[1])


def read(language: str, pieces: list[bytes], *, streamed: bool | None = None) -> list[ToolCall]:
    reader = AnswerReader(language, streamed=streamed)
    return [call for piece in pieces for call in reader.feed(piece)] + reader.finish()


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("language", PATHS)
def test_every_call_is_given_once(language: str, streamed: bool) -> None:
    assert read(language, [answer(language, streamed=streamed)], streamed=streamed) == EXPECTED
    assert read(language, [answer(language, [], streamed=streamed)], streamed=streamed) == []


@given(st.sampled_from(sorted(PATHS)), st.lists(st.integers(1, 60), min_size=1), st.sampled_from([b"\n", b"\r\n"]))
def test_pieces_of_any_size_give_the_same(language: str, sizes: list[int], newline: bytes) -> None:
    data, pieces, place = answer(language).replace(b"\n", newline), [], 0
    while place < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[place : place + size])
        place += size
    assert read(language, pieces) == EXPECTED


@pytest.mark.parametrize("language", PATHS)
def test_a_stream_that_is_cut_gives_no_call_that_is_not_whole(language: str) -> None:
    data = answer(language)
    for end in range(len(data)):
        assert read(language, [data[:end]]) in ([], EXPECTED[:1], EXPECTED)


@pytest.mark.parametrize("language", PATHS)
@given(data=st.binary(max_size=300))
def test_rubbish_says_nothing(language: str, data: bytes) -> None:
    for streamed in (True, False):
        assert read(language, [data, b"\n\n"], streamed=streamed) == []
    assert not results_in(language, data)


@st.composite
def shaped(draw: st.DrawFn) -> Any:
    """JSON that has the right names in the wrong places."""
    words = (
        "type index content_block delta choices tool_calls function id item response role output content messages "
        "input arguments finish_reason tool_use tool_result call_id"
    )
    names = st.sampled_from(words.split())
    leaves = st.none() | st.booleans() | st.integers() | names
    deeper = st.recursive(leaves, lambda more: st.lists(more, max_size=3) | st.dictionaries(names, more, max_size=4))
    return draw(deeper)


@pytest.mark.parametrize("language", PATHS)
@given(content=shaped())
def test_json_of_any_shape_raises_nothing(language: str, content: Any) -> None:
    text = json.dumps(content).encode()
    read(language, [b"data: " + text + b"\n\n"])
    read(language, [text], streamed=False)
    results_in(language, text)


def test_an_event_without_end_is_given_up() -> None:
    reader = AnswerReader(MESSAGES, streamed=True)
    for _ in range(LONGEST_EVENT // (1 << 20) + 1):
        reader.feed(b"data: " + b"x" * (1 << 20))
    assert reader.broken
    assert reader.feed(b"\n\n" + answer(MESSAGES)) == []


@pytest.mark.parametrize(
    ("language", "request_"),
    [
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1"}]}]}),
        (CHAT, {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}]}),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "call_1", "output": "x"}]}),
    ],
)
def test_results_are_found_in_a_request(language: str, request_: dict[str, Any]) -> None:
    assert results_in(language, json.dumps(request_).encode()) == {"call_1"}


def test_providers_run_some_tools_themselves() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    assert read(MESSAGES, [json.dumps({"content": [block]}).encode()], streamed=False) == []


def chat(*parts: dict[str, Any], reason: str | None = None) -> bytes:
    """A chat stream of these tool call parts, one event each."""
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    if reason:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def whole(**message: Any) -> bytes:
    return json.dumps({"choices": [{"message": message}]}).encode()


def part(call_id: Any, arguments: str = '{"a": 1}', **more: Any) -> dict[str, Any]:
    return {"id": call_id, "function": {"name": "t", "arguments": arguments}, **more}


def test_a_call_is_given_when_it_is_whole_and_not_at_the_answers_end() -> None:
    reader = AnswerReader(CHAT)
    assert reader.feed(chat(part("a", index=0))) == []
    assert [call.id for call in reader.feed(chat(part("b", index=1)))] == ["a"]
    reader = AnswerReader(RESPONSES)
    item = {"type": "function_call", "call_id": "a", "name": "t", "arguments": ""}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a": 1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "arguments": '{"a": 1}'}},
    ]
    given = [reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n") for event in events]
    assert given == [[], [ToolCall("a", "t", {"a": 1})], []]


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (chat(part("a", index=0)), ["a"]),  # without an end
        (chat(part("a"), part("b"), reason="tool_calls"), ["a", "b"]),
        (chat(part("a", index=0), part("b", index=0), reason="stop"), ["a", "b"]),
        (chat(part("a", index=1.0), part("b", index=2.0), reason="stop"), ["a", "b"]),
        (chat(part(12, index=0), reason="stop"), ["12"]),
        (chat(part("", index=0), reason="stop"), ["call-without-id-1"]),
        (b"\xef\xbb\xbf" + chat(part("a"), reason="stop"), ["a"]),
        (chat(part("a", '{"a": "\xff"}'), reason="stop").replace(b"\\u00ff", b"\xff"), ["a"]),
        (chat(part("a"), reason="stop").replace(b"data: ", b": comment\rdata: ").replace(b"\n", b"\r"), ["a"]),
        (chat(part("a"), reason="stop").replace(b"data: {", b"data: {\r\ndata:"), ["a"]),
        (whole(tool_calls=[part("a")]), ["a"]),
        (whole(function_call=part("")["function"]), ["call-without-id-1"]),
        (whole(tool_calls=[part("a", '{"n": 1e999}')]), ["a"]),
        (b'{"x":' + b"9" * 5000 + b"," + whole(tool_calls=[part("a")])[1:], ["a"]),
    ],
)
def test_what_a_lenient_client_would_take_is_read(data: bytes, ids: list[str]) -> None:
    for size in (1, 7, len(data)):
        pieces = [data[place : place + size] for place in range(0, len(data), size)]
        assert [call.id for call in read(CHAT, pieces)] == ids


def test_what_cannot_be_read_is_said_to_be_so() -> None:
    for data in (b"data: {\n\n", b"not json", b'{"a":' + b"[" * 5000):
        reader = AnswerReader(MESSAGES)
        assert reader.feed(data) + reader.finish() == []
        assert reader.unread
