"""YAML becomes plain values, each with its line and column; nothing in a file can make this step do more than read.

The tree is built from parser events, not by a YAML constructor: no tags, no anchors, no recursion, bounded size and
depth. Plain words follow YAML 1.2's core schema, so `no` and `1:30` stay text; so does `~`. Numbers that other readers
would take for octal (010) or that are infinite stay text too, which no key takes for a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import YAMLError

from remit.errors import ScopeError, one_line
from remit.scope import yaml_words
from remit.scope.read import MAX_BYTES

MAX_DEPTH = 12
MAX_PARTS = 20_000  # keys, values and brackets: the parser takes some 50 µs for each

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?=[0-9]*[.eE])(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_NULL = ("", "null", "Null", "NULL")  # not ~, which is a home here
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
# Control, invisible and direction-changing characters: whoever approves the file would not see what it says.
_UNSEEN = re.compile(
    "[\0-\b\v\f\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Source:
    """Where each value of a scope file stands, to say so in an error. name None: not from a file."""

    name: str | None = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def error(self, path: Path, message: str, *, hint: str, at_key: bool = False) -> ScopeError:
        """An error at `path`, or at the nearest thing above it that the file has."""
        table = self.keys if at_key else self.positions
        position = table.get(path)
        while position is None and path:
            path = path[:-1]
            position = self.positions.get(path)
        return self.error_at(position, message, hint=hint)

    def error_at(self, position: tuple[int, int] | None, message: str, *, hint: str) -> ScopeError:
        # A link's target or a key of the file may hold anything, and this goes to a terminal.
        message, hint, name = one_line(message, 2000), one_line(hint, 2000), one_line(self.name, 4200)
        if position is None or self.name is None:
            where = f"{name}: " if self.name else ""
            return ScopeError(where + message, hint=hint, path=self.name)
        line, column = position
        text = f"{name}:{line}:{column}: {message}"
        return ScopeError(text, hint=hint, path=self.name, line=line, column=column)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


def read_document(data: bytes, name: str | None) -> tuple[Any, Source]:
    """The file's value and positions; raises ScopeError for anything that is not one plain YAML document."""
    source = Source(name)
    if len(data) > MAX_BYTES:
        raise source.error_at((1, 1), "the scope file is too large", hint=f"at most {MAX_BYTES // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = data[: problem.start].decode("utf-8-sig", "replace")
        raise source.error_at(_end_of(before), "the scope file is not UTF-8", hint="save it as UTF-8") from problem
    if unseen := _UNSEEN.search(text):
        raise source.error_at(
            _end_of(text[: unseen.start()]),
            f"a character that cannot be seen: {unseen[0]}",
            hint="save the file as UTF-8" if unseen[0] == "\0" else "take it out",
        )
    return _build(_events(text, source), source), source


def _end_of(text: str) -> tuple[int, int]:
    """The line and column of what follows `text`."""
    lines = _LINE_END.split(text)
    return len(lines), len(lines[-1]) + 1


def _events(text: str, source: Source) -> Iterator[Any]:
    """The parser's events; raises ScopeError for whatever the parser raises."""
    position = (1, 1)
    try:
        for number, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
            position = (event.start_mark.line + 1, event.start_mark.column + 1)
            if number > MAX_PARTS:
                raise source.error_at(position, "too many keys and values", hint=f"at most {MAX_PARTS}")
            yield event
    except ScopeError:
        raise
    except YAMLError as problem:
        place, message, hint = yaml_words.say(problem)
        raise source.error_at(place or position, f"not valid YAML: {message}", hint=hint) from problem
    except Exception as problem:
        # The parser was not written for hostile input and raises ValueError, OverflowError and others for some of it.
        said = f"not valid YAML after this: {one_line(problem)}"
        raise source.error_at(position, said, hint="check the quoted text") from problem


def _build(events: Iterable[Any], source: Source) -> Any:
    stack: list[_Open] = []
    root: Any = None
    documents = 0
    for event in events:
        position = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml_events.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise source.error_at(position, "more than one YAML document", hint="keep one scope in a file")
        elif isinstance(event, yaml_events.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise source.error_at(position, "anchors and aliases are not allowed", hint="write the value out")
        elif isinstance(event, yaml_events.ScalarEvent):
            _scalar(event, position, stack, source)
            if not stack:
                root = _plain(event, position, source)
                source.positions[()] = position
        elif isinstance(event, (yaml_events.MappingStartEvent, yaml_events.SequenceStartEvent)):
            if event.tag is not None and event.tag != "!":
                raise source.error_at(position, "tags are not allowed", hint="write the plain value")
            if len(stack) >= MAX_DEPTH:
                raise source.error_at(position, f"nested more than {MAX_DEPTH} levels deep", hint="a scope needs four")
            value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml_events.MappingStartEvent) else []
            path = _place(value, position, stack, source) if stack else ()
            if not stack:
                root = value
            source.positions[path] = position
            stack.append(_Open(value, path))
        elif isinstance(event, (yaml_events.MappingEndEvent, yaml_events.SequenceEndEvent)):
            stack.pop()
    return root


def _scalar(event: Any, position: tuple[int, int], stack: list[_Open], source: Source) -> None:
    if not stack:
        return
    top = stack[-1]
    if isinstance(top.value, dict) and top.key is None:
        key = _plain(event, position, source)
        if event.value == "" or not isinstance(key, str):
            shown = one_line(event.value) or "nothing before the colon"
            raise source.error_at(position, f"a key must be a word: {shown}", hint="write `key: value`")
        if key == "<<":
            raise source.error_at(position, "merge keys are not allowed: <<", hint="write the keys out")
        if key in top.value:
            raise source.error_at(position, f"the same key twice: {one_line(key)}", hint="merge the two")
        top.key = key
        top.value[key] = None
        source.keys[(*top.path, key)] = position
        return
    path = _place(_plain(event, position, source), position, stack, source)
    # The parser places a value that is left out at whatever comes next.
    source.positions[path] = source.keys.get(path, position) if event.value == "" and event.style is None else position


def _place(value: Any, position: tuple[int, int], stack: list[_Open], source: Source) -> Path:
    top = stack[-1]
    if isinstance(top.value, list):
        top.value.append(value)
        return (*top.path, len(top.value) - 1)
    if top.key is None:
        raise source.error_at(position, "a key must be a word", hint="write `key: value`")
    key, top.key = top.key, None
    top.value[key] = value
    return (*top.path, key)


def _plain(event: Any, position: tuple[int, int], source: Source) -> Any:
    text: str = event.value
    if event.tag is not None and event.tag != "!":
        raise source.error_at(position, "tags are not allowed", hint="write the plain value")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise source.error_at(
            position, "half a character, which UTF-8 cannot hold", hint="take the \\ud... out"
        ) from None
    if event.style is not None or event.tag == "!":
        return text
    return plain_value(text)


def plain_value(text: str) -> Any:
    """What text without quotes means."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
