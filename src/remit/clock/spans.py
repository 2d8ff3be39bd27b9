"""GenAI spans in an OTLP export request, protobuf or JSON, become claims of what is past; pure, bounded by its input.

Whoever exports is hostile. Of protobuf only the wire format is read, and of that only the fields that are wanted, so
that an agent's environment needs no generated code. A span of a tool call is known by what its conventions call it:
OpenTelemetry's own (now, and as they were), OpenInference, OpenLLMetry and the Vercel AI SDK.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from remit.plain import Data

_MOST_SPANS, _DEEPEST = 2000, 8
_TOOLS = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "traceloop.entity.name")
_CALLS = ("gen_ai.tool.call.id", "tool_call.id", "tool.call.id", "ai.toolCall.id")
_ARGUMENTS = (
    *("gen_ai.tool.call.arguments", "gen_ai.tool.input", "tool_arguments", "tool.parameters", "input.value"),
    *("ai.toolCall.args", "traceloop.entity.input"),
)
_CONVERSATIONS = ("gen_ai.conversation.id", "session.id", "gen_ai.thread.id")
_AGENTS = ("gen_ai.agent.name", "agent.name", "traceloop.entity.name")
_OPERATIONS = ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind", "ai.operationId")
_TOOL_OPERATIONS = ("execute_tool", "invoke_function", "tool", "ai.toolcall")
_AGENT_OPERATIONS = ("invoke_agent", "agent")


class NoSpans(Exception):
    """What was sent is not an export request."""


class Span(Data):
    """Of a span what a claim may need. Ids are hexadecimal."""

    trace: str
    id: str
    name: str
    began: int
    ended: int
    attributes: dict[str, Any]


def claims_in(spans: list[Span]) -> list[dict[str, Any]]:
    """The claims of those spans that are a tool's or an agent's."""
    return [claim for span in spans if (claim := _claim(span))]


def _claim(span: Span) -> dict[str, Any] | None:
    said = str(_first(span, _OPERATIONS) or span.name.partition(" ")[0]).lower()
    is_tool = said in _TOOL_OPERATIONS or _first(span, _CALLS[:1]) is not None
    if not is_tool and said not in _AGENT_OPERATIONS:
        return None
    named = _first(span, _TOOLS if is_tool else _AGENTS) or span.name.partition(" ")[2] or span.name
    claim = {
        "mark": "past",
        "step": str((_first(span, _CALLS) if is_tool else None) or f"span:{span.id}"),
        "tool": str(named) if is_tool else f"agent {named}",
        "source": "otlp",
        "group": str(_first(span, _CONVERSATIONS) or span.trace),
        "arguments": _parsed(_first(span, _ARGUMENTS)) if is_tool else None,
    }
    times = {"began": span.began, "ended": span.ended}
    return {name: value for name, value in claim.items() if value != ""} | {
        name: value for name, value in times.items() if 0 < value < 1 << 63
    }


def _first(span: Span, names: tuple[str, ...]) -> Any:
    return next((span.attributes[name] for name in names if span.attributes.get(name) not in (None, "")), None)


def _parsed(said: Any) -> Any:
    if not isinstance(said, str):
        return said
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return said


def spans_of_json(body: bytes) -> list[Span]:
    """Raises NoSpans."""
    try:
        return [_json_span(span) for span in _json_spans(json.loads(body))][:_MOST_SPANS]
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as problem:
        raise NoSpans(f"not an export request: {type(problem).__name__}") from None


def _json_spans(request: Any) -> Iterator[Any]:
    for resource in request.get("resourceSpans") or ():
        for scope in resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans") or ():
            yield from scope.get("spans") or ()


def _json_span(span: Any) -> Span:
    attributes = {str(pair["key"]): _json_value(pair.get("value"), _DEEPEST) for pair in span.get("attributes") or ()
                  if "key" in pair}  # fmt: skip
    began, ended = int(span.get("startTimeUnixNano") or 0), int(span.get("endTimeUnixNano") or 0)
    trace, id, name = (str(span.get(member) or "") for member in ("traceId", "spanId", "name"))
    return Span(trace, id, name, began, ended, attributes)


def _json_value(value: Any, deepest: int) -> Any:
    if not value or not deepest:
        return None
    if "arrayValue" in value:
        return [_json_value(item, deepest - 1) for item in value["arrayValue"].get("values") or ()]
    if "kvlistValue" in value:
        pairs = value["kvlistValue"].get("values") or ()
        return {str(pair["key"]): _json_value(pair.get("value"), deepest - 1) for pair in pairs if "key" in pair}
    if "intValue" in value:
        return int(value["intValue"])
    return next(
        (value[name] for name in ("stringValue", "boolValue", "doubleValue", "bytesValue") if name in value), None
    )


def spans_of_protobuf(body: bytes) -> list[Span]:
    """Raises NoSpans. Numbers are those of opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto."""
    found: list[Span] = []
    try:
        for resource in _all(body, 1):
            for scope in _all(resource, 2):
                for span in _all(scope, 2):
                    if len(found) < _MOST_SPANS:
                        found.append(_protobuf_span(span))
    except (IndexError, ValueError, UnicodeDecodeError) as problem:
        raise NoSpans(f"not an export request: {type(problem).__name__}") from None
    return found


def _protobuf_span(data: bytes) -> Span:
    texts: dict[int, bytes] = {}
    times: dict[int, int] = {}
    attributes: dict[str, Any] = {}
    for number, value in _fields(data):
        if number == 9 and isinstance(value, bytes):
            attributes.update(_pair(value, _DEEPEST))
        elif isinstance(value, bytes):
            texts[number] = value
        else:
            times[number] = value
    name = texts.get(5, b"").decode("utf-8", "replace")
    trace, id = texts.get(1, b"").hex(), texts.get(2, b"").hex()
    return Span(trace, id, name, times.get(7, 0), times.get(8, 0), attributes)


def _pair(data: bytes, deepest: int) -> dict[str, Any]:
    fields = dict(_fields(data))
    key, value = fields.get(1, b""), fields.get(2, b"")
    if not isinstance(key, bytes) or not isinstance(value, bytes):
        raise ValueError("a key and a value are texts")
    return {key.decode("utf-8", "replace"): _value(value, deepest)}


def _value(data: bytes, deepest: int) -> Any:
    for number, value in _fields(data):
        if number == 2:
            return bool(value)
        if number == 3 and isinstance(value, int):
            return value - (1 << 64) if value >> 63 else value
        if number == 4 and isinstance(value, int):
            return struct.unpack("<d", value.to_bytes(8, "little"))[0]
        if not isinstance(value, bytes) or not deepest:
            continue
        if number == 1:
            return value.decode("utf-8", "replace")
        if number == 5:
            return [_value(item, deepest - 1) for item in _all(value, 1)]
        if number == 6:
            return {name: item for pair in _all(value, 1) for name, item in _pair(pair, deepest - 1).items()}
    return None


def _all(data: bytes, wanted: int) -> Iterator[bytes]:
    return (value for number, value in _fields(data) if number == wanted and isinstance(value, bytes))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number, and its value: a number, or bytes. Raises IndexError or ValueError when it breaks off."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(data, position)
        else:
            length = {1: 8, 5: 4}[kind] if kind in (1, 5) else -1
        if length < 0 or position + length > len(data):
            raise ValueError("it breaks off")
        piece = data[position : position + length]
        position += length
        yield number, piece if kind == 2 else int.from_bytes(piece, "little")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
    raise ValueError("a number that does not end")
