"""Spans of tool calls, in both encodings and by every convention, become claims; rubbish becomes none."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from remit.clock.claimant import encode_claim
from remit.clock.spans import NoSpans, Span, claims_in, spans_of_json, spans_of_protobuf
from remit.clock.telemetry import BODY_MAX, Receiver
from remit.supervisor.claims import read_claim

TIMES = {"start_time_unix_nano": 1748000001500000000, "end_time_unix_nano": 1748000001800000000}
NOW = {
    "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "bash", "gen_ai.tool.call.id": "call_1",
    "gen_ai.tool.call.arguments": '{"command": "ls"}', "gen_ai.conversation.id": "talk",
}  # fmt: skip


def request(name: str, attributes: dict[str, Any]) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    span = (
        made.resource_spans.add()
        .scope_spans.add()
        .spans.add(name=name, trace_id=b"\x01" * 16, span_id=b"\x02" * 8, **TIMES)
    )
    span.attributes.extend(KeyValue(key=key, value=any_value(value)) for key, value in attributes.items())
    return made


def any_value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    pairs = [KeyValue(key=key, value=any_value(member)) for key, member in value.items()]
    return AnyValue(kvlist_value=KeyValueList(values=pairs))


def both(made: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """The claims of a request, which are the same in both encodings."""
    spans = spans_of_protobuf(made.SerializeToString())
    text = json.dumps(MessageToDict(made)).encode()
    # Ids are base64 in protobuf's JSON, and hexadecimal in OTLP's.
    as_json = [span._replace(trace="01" * 16, id="02" * 8) for span in spans_of_json(text)]
    assert as_json == spans
    return claims_in(spans)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("execute_tool bash", NOW),
        ("execute_tool bash", {"gen_ai.tool.call.id": "call_1", "gen_ai.tool.call.arguments": {"command": "ls"},
                               "gen_ai.conversation.id": "talk"}),
        ("invoke_function bash", {"gen_ai.tool.name": "bash", "gen_ai.tool.call.id": "call_1",
                                  "gen_ai.tool.input": '{"command": "ls"}', "session.id": "talk"}),
        ("running tool", {"gen_ai.tool.name": "bash", "gen_ai.tool.call.id": "call_1", "session.id": "talk",
                          "tool_arguments": '{"command": "ls"}'}),
        ("bash", {"openinference.span.kind": "TOOL", "tool.name": "bash", "tool_call.id": "call_1",
                  "input.value": '{"command": "ls"}', "session.id": "talk"}),
        ("bash.tool", {"traceloop.span.kind": "tool", "traceloop.entity.name": "bash", "tool.call.id": "call_1",
                       "traceloop.entity.input": '{"command": "ls"}', "session.id": "talk"}),
        ("ai.toolCall", {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "bash", "ai.toolCall.id": "call_1",
                         "ai.toolCall.args": '{"command": "ls"}', "session.id": "talk"}),
    ],
    ids=["now", "structured", "function", "logfire", "openinference", "openllmetry", "vercel"],
)  # fmt: skip
def test_a_tool_call_by_every_name_is_the_same_claim(name: str, attributes: dict[str, Any]) -> None:
    assert both(request(name, attributes)) == [
        {
            "mark": "past", "step": "call_1", "tool": "bash", "source": "otlp", "group": "talk",
            "arguments": {"command": "ls"}, "began": TIMES["start_time_unix_nano"],
            "ended": TIMES["end_time_unix_nano"],
        }
    ]  # fmt: skip


def test_an_agents_span_is_a_claim_and_a_models_is_none() -> None:
    (claim,) = both(request("invoke_agent helper", {"gen_ai.operation.name": "invoke_agent"}))
    assert (claim["step"], claim["tool"]) == ("span:" + "02" * 8, "agent helper")
    assert both(request("chat gpt", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt"})) == []
    assert both(request("GET", {"http.method": "GET", "n": 7, "f": 1.5, "b": True, "l": ["x", {"y": -1}]})) == []


def test_the_older_name_of_scopes_is_read() -> None:
    span = {"name": "execute_tool bash", "spanId": "ab", "attributes": []}
    (claim,) = claims_in(spans_of_json(json.dumps({"resourceSpans": [{"instrumentationLibrarySpans": [
        {"spans": [span]}]}]}).encode()))  # fmt: skip
    assert (claim["step"], claim["tool"]) == ("span:ab", "bash")


def test_hostile_values_make_a_claim_that_is_taken_or_none() -> None:
    attributes = {**NOW, "gen_ai.tool.call.id": "x" * 10_000, "gen_ai.tool.call.arguments": "y" * 1_000_000}
    (claim,) = both(request("execute_tool", attributes))
    assert read_claim(encode_claim(claim))["mark"] == "past"
    for value in ({"stringValue": []}, {"intValue": "x"}, {"intValue": 1e999}, {"arrayValue": 7}, [], "stringValue"):
        text = {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{"key": "a", "value": value}]}]}]}]}
        try:
            assert claims_in(spans_of_json(json.dumps(text).encode())) == []
        except NoSpans:
            continue


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_or_say_little(body: bytes) -> None:
    for read in (spans_of_protobuf, spans_of_json):
        try:
            spans = read(body)
        except NoSpans:
            continue
        assert all(isinstance(span, Span) for span in spans)


@given(st.integers(0, 500), st.binary(min_size=1, max_size=4))
def test_a_request_that_was_damaged_is_refused_or_read(place: int, damage: bytes) -> None:
    body = bytearray(request("execute_tool bash", NOW).SerializeToString())
    place %= len(body)
    body[place : place + len(damage)] = damage
    for damaged in (bytes(body), bytes(body[:place])):
        try:
            claims = claims_in(spans_of_protobuf(damaged))
        except NoSpans:
            continue
        for claim in claims:
            assert read_claim(encode_claim(claim))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def post(receiver: Receiver, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_receiver_answers_as_exporters_expect(receiver: Receiver) -> None:
    made = request("execute_tool bash", NOW)
    body, text = made.SerializeToString(), json.dumps(MessageToDict(made)).encode()
    packed, bomb = gzip.compress(body), gzip.compress(b"\0" * (BODY_MAX + 1))
    assert post(receiver, "/v1/traces", body, Content_Type="application/x-protobuf") == (200, b"")
    assert post(receiver, "/v1/traces", text, Content_Type="application/json; charset=utf-8") == (200, b"{}")
    assert post(receiver, "/v1/traces", packed, Content_Encoding="gzip") == (200, b"")
    assert post(receiver, "/v1/metrics", b"anything") == (200, b"")
    for body, coding in ((b"\xff", "identity"), (packed[:-9], "gzip"), (bomb, "gzip"), (b"x", "gzip"), (b"x", "br")):
        assert post(receiver, "/v1/traces", body, Content_Encoding=coding)[0] == 400
    assert post(receiver, "/v1/traces", b"", Content_Length=str(BODY_MAX + 1))[0] == 413
