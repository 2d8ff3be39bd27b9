"""What a request tells the model that no request before it did: the rest was said, or told, and is on record.

A request repeats its whole conversation. New is what stands behind the last word of the model, and the results of calls
that are under way; so an edited history, or one that a sub-agent begins with, is told once, and none of it is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from remit.plain import Data

_MOST = 256  # texts, and results, of one request
_LONGEST_NAME = 100
_MODEL_ITEMS = ("_call", "reasoning")  # of the Responses API: how the types of what a model says end


class Told(Data):
    """`earlier`: how many messages stand before what is new. `results`: the call's id and the text."""

    model: str
    tools: int
    earlier: int
    texts: tuple[str, ...]
    results: tuple[tuple[str, str], ...]


def told_by(language: str, request: dict[str, Any], under_way: Collection[str]) -> Told:
    """What is new in a request; `under_way` are the calls whose results it brings for the first time."""
    messages = [*map(_table, _list(request.get("input" if language == "responses" else "messages")))]
    read, begun = _READERS[language], bool(request.get("previous_response_id"))
    end = len(messages)
    while end and _is_models(messages[end - 1]):
        end -= 1  # an answer that the model is to go on with
    earlier = max((place + 1 for place in range(end) if _is_models(messages[place])), default=0)
    texts: list[str] = []
    if not earlier and not begun:
        texts += _text_of(request.get("system")), _text_of(request.get("instructions"))
    if language == "responses" and isinstance(request.get("input"), str):
        texts.append(request["input"])
    results: dict[str, str] = {}
    for place, message in enumerate(messages[:end]):
        for call, content in read(message):
            if call is None and place >= earlier:
                texts.append(_text_of(content))
            elif call is not None and (place >= earlier or call in under_way):
                results[call] = _text_of(content)
    model = request.get("model")
    kept = tuple(text for text in texts if text)[-_MOST:]
    name = model[:_LONGEST_NAME] if isinstance(model, str) else ""
    return Told(name, offered(request), earlier + begun, kept, tuple(results.items())[-_MOST:])


def offered(request: dict[str, Any]) -> int:
    """How many tools the model may call."""
    return len(_list(request.get("tools"))) + len(_list(request.get("functions")))


def _is_models(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant" or _name(message.get("type")).endswith(_MODEL_ITEMS)


def _messages(message: dict[str, Any]) -> Iterator[tuple[str | None, Any]]:
    content = message.get("content")
    for block in content if isinstance(content, list) else [content]:
        result = _table(block)
        if result.get("type") == "tool_result":
            yield _name(result.get("tool_use_id")), result.get("content")
        else:
            yield None, [block]


def _chat(message: dict[str, Any]) -> Iterator[tuple[str | None, Any]]:
    yield _name(message.get("tool_call_id")) if message.get("role") == "tool" else None, message.get("content")


def _responses(item: dict[str, Any]) -> Iterator[tuple[str | None, Any]]:
    if _name(item.get("type")).endswith("_output"):
        yield _name(item.get("call_id")), item.get("output")
    else:
        yield None, item.get("content")


_READERS: dict[str, Callable[[dict[str, Any]], Iterator[tuple[str | None, Any]]]] = {
    "messages": _messages,
    "chat": _chat,
    "responses": _responses,
}


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    found = []
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            found.append(block)
        elif isinstance(block, dict):
            text = block.get("text")
            found.append(text if isinstance(text, str) else f"({_name(block.get('type'))[:_LONGEST_NAME]})")
    return "\n".join(found)


def _name(value: Any) -> str:
    """Some number their calls."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
