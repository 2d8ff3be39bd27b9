"""What is said and told is recorded once, bounded, whatever a request or an answer looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.clock.model_api import CHAT, MESSAGES, RESPONSES, AnswerReader
from remit.clock.said import LONGEST_TEXT, Said
from remit.clock.told import Told, told_by
from remit.clock.transcript import Account, Transcript
from remit.protocol import encode

LANGUAGES = [MESSAGES, CHAT, RESPONSES]
NAMES = [
    "type", "role", "content", "text", "id", "index", "delta", "choices", "message", "output", "item", "input", "model",
    "messages", "tool_use_id", "call_id", "tool_call_id", "finish_reason", "output_index", "response", "system",
]  # fmt: skip
WORDS = [
    "assistant", "user", "tool", "text", "tool_result", "message", "function_call", "function_call_output", "x",
    "text_delta", "content_block_start", "content_block_delta", "message_start", "message_stop", "response.completed",
    "response.output_text.delta", "response.output_item.done", "\ud800",
]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.none() | st.integers(-1, 3) | st.booleans() | st.just(1e300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)


def told(language: str, request: dict[str, Any], *under_way: str) -> Told:
    return told_by(language, request, under_way)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES)))
def test_anything_is_taken(language: str, request: dict[str, Any], events: list[dict[str, Any]]) -> None:
    found = told(language, request, "x")
    said = Said(language)
    for event in events:
        said.event(event)
    said.whole(request)
    encode(Transcript("full").request("1:1", language, found, {}, b"body"))
    encode(Account(Transcript("hashes"), "1:1", language, said, status=200).message())


def test_only_what_stands_behind_the_models_last_word_is_new() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "b",
        "content": [{"type": "text", "text": "out"}, {"type": "image"}],
    }
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "old"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "b"}]},
        {"role": "user", "content": [result, {"type": "text", "text": "go on"}]},
    ]
    request = {"model": "m", "tools": [{}, {}], "system": "be good", "messages": messages}
    assert told(MESSAGES, request) == Told("m", 2, 4, ("go on",), (("b", "out\n(image)"),))
    assert told(MESSAGES, {**request, "messages": messages[:1]}) == Told("m", 2, 0, ("be good", "first"), ())
    # An answer that the model is to go on with is its own, and no news.
    prefilled = [messages[0], {"role": "assistant", "content": "{"}]
    assert told(MESSAGES, {**request, "messages": prefilled}).texts == ("be good", "first")


def test_a_result_of_a_call_under_way_is_new_wherever_it_stands() -> None:
    output = {"type": "function_call_output", "call_id": "a", "output": "one"}
    items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
        {"type": "function_call", "call_id": "a"},
        output,
        {"type": "function_call", "call_id": "b"},
        {**output, "call_id": "b", "output": "two"},
    ]
    assert told(RESPONSES, {"input": items}).results == (("b", "two"),)
    assert told(RESPONSES, {"input": items}, "a").results == (("a", "one"), ("b", "two"))
    assert told(RESPONSES, {"input": "go", "instructions": "be good"}).texts == ("be good", "go")
    assert told(RESPONSES, {"input": "go", "previous_response_id": "r"}).earlier == 1
    chat = [
        {"role": "assistant"},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "user", "content": "x"},
    ]
    assert told(CHAT, {"messages": chat}) == Told("", 0, 1, ("x",), (("a", "one"),))


def test_a_record_is_bounded_and_says_what_is_cut() -> None:
    long = "x" * 200_000
    record = Transcript("full").request(
        "1:1", MESSAGES, Told("m", 0, 0, (long, "y"), (("a", long),) * 20), {"a": "s"}, b""
    )
    assert [len(entry["text"]) for entry in record["texts"]] == [LONGEST_TEXT, 0]
    assert record["texts"][0]["cut"] == 200_000 - LONGEST_TEXT
    assert sum(len(entry["text"]) for entry in record["results"]) == 64 << 10
    assert record["steps"] == ["s"] * 20
    ends = Transcript("full").request("1:1", MESSAGES, Told("m", 0, 0, (), (("a", f"begin{long}end"),)), {}, b"")
    assert (ends["results"][0]["text"][:5], ends["results"][0]["text"][-3:]) == ("begin", "end")
    said = Said(CHAT)
    for _ in range(300):
        said.event({"choices": [{"delta": {"content": "z" * 1000}}]})
    account = Account(Transcript("full"), "1:1", CHAT, said, status=200)
    message = account.message()
    assert (len(message["texts"][0]["text"]), message["texts"][0]["cut"]) == (LONGEST_TEXT, 300_000 - LONGEST_TEXT)


def test_an_answer_is_due_once_and_again_only_if_it_says_more() -> None:
    reader = AnswerReader(CHAT, streamed=True)
    account = Account(Transcript("full"), "1:1", CHAT, reader.said, status=200)
    for choice in ({"delta": {"content": "a"}}, {"delta": {"content": "b"}, "finish_reason": "stop"}):
        assert not account.due
        reader.feed(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
    assert account.due
    assert account.message()["texts"] == [{"text": "ab"}]
    account.over = True
    assert not account.due
    reader.feed(b'data: {"choices": [{"delta": {"content": "c"}}]}\n\n')
    assert account.due
    assert account.message()["texts"] == [{"text": "c"}]
    assert not Account(Transcript("none"), "1:1", CHAT, reader.said).due


def test_what_the_provider_runs_itself_is_named() -> None:
    said = Said(MESSAGES)
    said.whole(
        {
            "content": [
                {"type": "server_tool_use"},
                {"type": "thinking", "thinking": "no"},
                {"type": "text", "text": "a"},
            ]
        }
    )
    assert (said.elsewhere, said.take()) == ({"server_tool_use"}, ["a"])
