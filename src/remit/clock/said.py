"""Gathers what a model says beside its tool calls, from the parsed pieces of its answer; bounded, and cuts are counted.

A stream gives a text in pieces and some languages give it whole again at the end, so each block is kept in its place
and may be put there once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LONGEST_TEXT = 64 << 10  # characters of one answer that are kept
_MOST_BLOCKS, _MOST_KINDS, _LONGEST_NAME = 256, 16, 100
_SAID = frozenset({"text", "output_text", "refusal", "message"})
# Run by the agent, or thought; anything else was done where the model is, and no kernel of ours saw it.
_HERE = frozenset(
    {"tool_use", "thinking", "redacted_thinking", "function_call", "custom_tool_call", "reasoning"}
    | {"local_shell_call", "shell_call", "apply_patch_call"}
)

Place = tuple[int, int]


class Said:
    """What one answer says. `ended`: it has said everything, and who reads it may act on that."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._blocks: dict[Place, list[str]] = {}
        self._size = 0
        self.cut = 0  # characters that were too many
        self.model = ""
        self.elsewhere: set[str] = set()  # kinds of what the model's provider did itself
        self.ended = False

    @property
    def has_more(self) -> bool:
        """Whether there is a text that was not taken."""
        return bool(self._blocks)

    def take(self) -> list[str]:
        """The texts so far, in their order; they are not given again."""
        found = ["".join(self._blocks[place]) for place in sorted(self._blocks)]
        self._blocks.clear()
        return [text for text in found if text]

    def event(self, event: dict[str, Any]) -> None:
        """Take in one event of a stream."""
        kind = event.get("type")
        if self._language == "chat":
            self._chat(event, "delta")
        elif kind == "content_block_start":
            self._block((_number(event.get("index")), 0), event.get("content_block"))
        elif kind == "content_block_delta":
            self._add((_number(event.get("index")), 0), _table(event.get("delta")).get("text"))
        elif kind == "message_start":
            self.whole(_table(event.get("message")))
        elif kind == "message_stop":
            self.ended = True
        elif kind in ("response.output_text.delta", "response.refusal.delta"):
            self._add(_place(event), event.get("delta"))
        elif kind == "response.output_text.done":
            self._put(_place(event), event.get("text"))
        elif kind == "response.output_item.done":
            self._item(_number(event.get("output_index")), _table(event.get("item")))
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self.whole(_table(event.get("response")))
            self.ended = True

    def whole(self, answer: dict[str, Any]) -> None:
        """Take in an answer that is one body, or what a stream repeats as one."""
        self._named(answer)
        if self._language == "chat":
            self._chat(answer, "message")
        for index, block in enumerate(_list(answer.get("content"))):
            self._block((index, 0), block)
        for index, item in enumerate(_list(answer.get("output"))):
            self._item(index, _table(item))

    def _chat(self, answer: dict[str, Any], member: str) -> None:
        self._named(answer)
        for choice in map(_table, _list(answer.get("choices"))):
            index = _number(choice.get("index"))
            content = _table(choice.get(member))
            for text in _texts(content.get("content")):
                self._add((index, 0), text)
            self._add((index, 1), content.get("refusal"))
            self.ended = self.ended or choice.get("finish_reason") is not None

    def _item(self, index: int, item: dict[str, Any]) -> None:
        self._kind(item.get("type"))
        for place, part in enumerate(map(_table, _list(item.get("content")))):
            if item.get("type") == "message":
                self._put((index, place), part.get("text") or part.get("refusal"))

    def _block(self, place: Place, block: Any) -> None:
        self._kind(_table(block).get("type"))
        if _table(block).get("type") == "text":
            self._add(place, block.get("text"))

    def _kind(self, kind: Any) -> None:
        if isinstance(kind, str) and kind not in _SAID | _HERE and len(self.elsewhere) < _MOST_KINDS:
            self.elsewhere.add(kind[:_LONGEST_NAME])

    def _named(self, answer: dict[str, Any]) -> None:
        if isinstance(answer.get("model"), str):
            self.model = answer["model"][:_LONGEST_NAME]

    def _put(self, place: Place, text: Any) -> None:
        if isinstance(text, str) and text:
            self._size -= sum(map(len, self._blocks.pop(place, ())))
            self._add(place, text)

    def _add(self, place: Place, text: Any) -> None:
        if not isinstance(text, str) or not text:
            return
        if place not in self._blocks and len(self._blocks) >= _MOST_BLOCKS:
            self.cut += len(text)
            return
        kept = text[: max(0, LONGEST_TEXT - self._size)]
        self.cut += len(text) - len(kept)
        self._size += len(kept)
        if kept:
            self._blocks.setdefault(place, []).append(kept)


def _place(event: dict[str, Any]) -> Place:
    return _number(event.get("output_index")), _number(event.get("content_index"))


def _texts(content: Any) -> Iterator[Any]:
    if isinstance(content, str):
        yield content
    for part in map(_table, _list(content)):
        yield part.get("text")


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 1 << 31 else 0
