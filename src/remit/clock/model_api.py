"""Reads tool calls out of a model's answer, and from a request which of them it brings results of; changes no byte.

Three languages are known: Anthropic's Messages, OpenAI's Chat Completions and OpenAI's Responses, each as one JSON body
or as a stream of server-sent events. Whoever writes these bytes is not trusted. What cannot be read is said to be so,
and a call that a lenient reader would accept is read too: what goes through unseen is a step that nobody knows of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from remit.clock.events import EventSplitter
from remit.clock.said import Said
from remit.plain import Data

LONGEST_BODY = 64 << 20
MOST_CALLS = 1024  # in one answer
MOST_UNFINISHED = 8 << 20  # characters of arguments that have begun and not ended

MESSAGES, CHAT, RESPONSES = "messages", "chat", "responses"
# The calls of each API that a gateway passes on, by method and path. What answers with tool calls has a language.
PATHS: dict[str, dict[tuple[str, str], str | None]] = {
    "anthropic": {
        ("POST", "/v1/messages"): MESSAGES,
        ("POST", "/v1/messages/count_tokens"): None,
        ("GET", "/v1/models"): None,
        ("HEAD", "/"): None,  # a client looks whether anybody is there
    },
    "openai": {
        ("POST", "/v1/chat/completions"): CHAT,
        ("POST", "/v1/responses"): RESPONSES,
        ("GET", "/v1/models"): None,
    },
}


class ToolCall(Data):
    """One tool call as the model asked for it. `arguments`: an object, or the text when it is no JSON."""

    id: str
    tool: str
    arguments: Any


class _Part:
    """A call whose arguments are still coming."""

    def __init__(self, call_id: str, tool: str, arguments: str = "") -> None:
        self.id = call_id
        self.tool = tool
        self.pieces = [arguments]

    def is_whole(self) -> bool:
        return parse("".join(self.pieces)) is not None

    def whole(self) -> ToolCall:
        text = "".join(self.pieces)
        arguments = parse(text) if text else {}
        return ToolCall(self.id, self.tool, text if arguments is None else arguments)


class AnswerReader:
    """Takes an answer in piece by piece; each call is given once, when it is complete. `streamed`: None to find out."""

    def __init__(self, language: str, *, streamed: bool | None = None) -> None:
        self._language = language
        self.said = Said(language)
        self._streamed = streamed
        self._start = b""  # what says nothing yet of which it is
        self._events = EventSplitter()
        self._seen = False  # an event
        self._body: list[bytes] = []
        self._size = 0
        self._unfinished: dict[tuple[int, int], _Part] = {}
        self._held = 0  # characters in there
        self._given: set[str] = set()
        self._count = 0
        self.broken = False  # it is read no further
        self.unread = False  # something in it could not be read

    @property
    def whole(self) -> bool:
        """Whether it is one body, which says nothing before its end."""
        return not self._streamed

    def feed(self, data: bytes) -> list[ToolCall]:
        """The calls that these bytes complete."""
        if self.broken or not data:
            return []
        if self._streamed is None:
            data, self._start = self._start + data, b""
            first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
            if not first:
                self._start = data
                return []
            self._streamed = first not in b"{["
        if self._streamed:
            calls = self._new(call for event in self._events.feed(data) for call in self._event(event))
            self.broken = self.broken or self._events.broken or self._held > MOST_UNFINISHED
            return calls
        self._body.append(data)
        self._size += len(data)
        self.broken = self._size > LONGEST_BODY
        return []

    def finish(self) -> list[ToolCall]:
        """The calls that the end of the answer completes."""
        if self.broken:
            return []
        if not self._streamed:
            if not self._body:
                return []
            answer = parse(b"".join(self._body).decode("utf-8", "replace"))
            self.unread = not isinstance(answer, dict)
            self.said.whole(_table(answer))
            return self._new(_whole(self._language, answer))
        calls = [call for event in self._events.finish() for call in self._event(event)]
        self.unread = self.unread or not self._seen
        if self._language == CHAT:  # some end without a word that this was all
            calls += [part.whole() for part in self._unfinished.values() if part.is_whole()]
        return self._new(calls)

    def _new(self, calls: Iterable[ToolCall]) -> list[ToolCall]:
        found = []
        for call in calls:
            if call.id in self._given:
                continue
            if len(self._given) >= MOST_CALLS:
                self.broken = True
                break
            self._count += 1
            name = call.id or f"call-without-id-{self._count}"
            self._given.add(name)
            found.append(call._replace(id=name))
        return found

    def _event(self, text: str) -> Iterator[ToolCall]:
        self._seen = True
        if text.strip() in ("", "[DONE]"):
            return
        content = parse(text)
        if isinstance(content, dict):
            self.said.event(content)
            yield from _EVENTS[self._language](self, content)
        else:
            self.unread = True

    def _messages_event(self, event: dict[str, Any]) -> Iterator[ToolCall]:
        kind, place = event.get("type"), (0, _number(event.get("index")))
        if kind == "content_block_start":
            block = _table(event.get("content_block"))
            if block.get("type") == "tool_use":
                if place in self._unfinished:
                    yield self._unfinished.pop(place).whole()
                given = block.get("input")
                self._begin(place, block.get("id"), block.get("name"), json.dumps(given) if given else "")
        elif kind == "content_block_delta":
            self._go_on(place, _table(event.get("delta")).get("partial_json"))
        elif kind == "content_block_stop" and place in self._unfinished:
            yield self._unfinished.pop(place).whole()
        elif kind == "message_stop":
            yield from self._all()
        elif kind == "message_start":
            yield from _whole(MESSAGES, event.get("message"))

    def _chat_event(self, event: dict[str, Any]) -> Iterator[ToolCall]:
        for choice in map(_table, _list(event.get("choices"))):
            number = _number(choice.get("index"))
            delta = _table(choice.get("delta"))
            wanted = _list(delta.get("tool_calls"))
            if delta.get("function_call"):
                wanted = [*wanted, {"index": -1, "function": delta["function_call"]}]
            for position, part in enumerate(map(_table, wanted)):
                place = (number, _number(part.get("index"), position))
                function = _table(part.get("function"))
                known = self._unfinished.get(place)
                if known is None or (part.get("id") and known.id and _text(part.get("id")) != known.id):
                    # What came before is complete now: nobody waits for the end of the answer to act on it.
                    yield from self._all(number)
                    self._begin(place, part.get("id"), function.get("name"), _text(function.get("arguments")))
                    continue
                known.id = known.id or _text(part.get("id"))
                known.tool += _text(function.get("name"))
                self._go_on(place, function.get("arguments"))
            if choice.get("finish_reason") is not None:
                yield from self._all(number)
            yield from _whole(CHAT, {"choices": [choice]})

    def _responses_event(self, event: dict[str, Any]) -> Iterator[ToolCall]:
        kind, place = event.get("type"), (0, _number(event.get("output_index")))
        item = _table(event.get("item"))
        if kind == "response.output_item.added" and item.get("type") == "function_call":
            self._begin(place, item.get("call_id"), item.get("name"), "")
        elif kind == "response.function_call_arguments.done" and place in self._unfinished:
            part = self._unfinished.pop(place)
            yield _Part(part.id, part.tool, _text(event.get("arguments"))).whole()
        elif kind == "response.output_item.done":
            yield from _response_items([item])
        elif kind in ("response.completed", "response.incomplete"):
            yield from _whole(RESPONSES, event.get("response"))

    def _begin(self, place: tuple[int, int], call_id: Any, tool: Any, arguments: str) -> None:
        if len(self._unfinished) >= MOST_CALLS:
            self.broken = True
            return
        self._held += len(arguments)
        self._unfinished[place] = _Part(_text(call_id), _text(tool), arguments)

    def _go_on(self, place: tuple[int, int], arguments: Any) -> None:
        if place in self._unfinished and isinstance(arguments, str):
            self._held += len(arguments)
            self._unfinished[place].pieces.append(arguments)

    def _all(self, choice: int | None = None) -> Iterator[ToolCall]:
        for place in [place for place in self._unfinished if choice is None or place[0] == choice]:
            yield self._unfinished.pop(place).whole()


_EVENTS: dict[str, Callable[[AnswerReader, dict[str, Any]], Iterator[ToolCall]]] = {
    MESSAGES: AnswerReader._messages_event,
    CHAT: AnswerReader._chat_event,
    RESPONSES: AnswerReader._responses_event,
}


def results_in(language: str, body: bytes) -> set[str] | None:
    """The ids of the calls whose results a request brings, or None when it cannot be read."""
    request = parse(body.decode("utf-8", "replace"))
    return results_of(language, request) if isinstance(request, dict) else None


def results_of(language: str, request: dict[str, Any]) -> set[str]:
    """The same of a request that was read. The whole conversation is in it each time."""
    if language == MESSAGES:
        messages = map(_table, _list(request.get("messages")))
        blocks = (_table(block) for message in messages for block in _list(message.get("content")))
        found = {_text(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"}
    elif language == CHAT:
        messages = map(_table, _list(request.get("messages")))
        found = {_text(message.get("tool_call_id")) for message in messages if message.get("role") == "tool"}
    else:
        items = map(_table, _list(request.get("input")))
        found = {_text(item.get("call_id")) for item in items if _text(item.get("type")).endswith("_output")}
    return found - {""}


def parse(text: str) -> Any:
    """JSON as lenient readers take it, numbers that are none as text; None when it is not JSON."""
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=str, parse_int=_integer, parse_float=_float)
    except (ValueError, RecursionError):
        return None


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= 300 else text


def _float(text: str) -> float | str:
    value = float(text)
    return value if abs(value) < float("inf") else text


def _whole(language: str, answer: Any) -> Iterator[ToolCall]:
    answer = _table(answer)
    if language == MESSAGES:
        for block in map(_table, _list(answer.get("content"))):
            if block.get("type") == "tool_use":
                yield ToolCall(_text(block.get("id")), _text(block.get("name")), block.get("input"))
    elif language == CHAT:
        for choice in map(_table, _list(answer.get("choices"))):
            message = _table(choice.get("message"))
            legacy = [{"function": message["function_call"]}] if message.get("function_call") else []
            for wanted in map(_table, [*_list(message.get("tool_calls")), *legacy]):
                function = _table(wanted.get("function"))
                part = _Part(_text(wanted.get("id")), _text(function.get("name")), _text(function.get("arguments")))
                yield part.whole()
    else:
        yield from _response_items(_list(answer.get("output")))


def _response_items(items: Iterable[Any]) -> Iterator[ToolCall]:
    for item in map(_table, items):
        kind, call_id = item.get("type"), _text(item.get("call_id"))
        if kind == "function_call":
            yield _Part(call_id, _text(item.get("name")), _text(item.get("arguments"))).whole()
        elif kind == "custom_tool_call":
            yield ToolCall(call_id, _text(item.get("name")), {"input": _text(item.get("input"))})
        elif kind in ("local_shell_call", "shell_call"):
            yield ToolCall(call_id, "shell", _table(item.get("action")))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """Some number their calls."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _number(value: Any, otherwise: int = 0) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 1 << 31 else otherwise
