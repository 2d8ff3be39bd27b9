"""YAML becomes plain values, each with its line and column; nothing in a file can make this step do more than read.

The tree is built from parser events, not by a YAML constructor: no tags, no anchors, no recursion, bounded size and
depth. Plain words follow YAML 1.2's core schema, so `no` and `1:30` stay text; so does `~`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as yaml_events
from ruamel.yaml.error import YAMLError

from remit.errors import ScopeError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_NULL = ("", "null", "Null", "NULL")  # not ~, which is a home here
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


@dataclass(frozen=True, slots=True)
class Source:
    """Where each value of a scope file stands, to say so in an error. name None: not from a file."""

    name: str | None = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def error(self, path: Path, message: str, *, hint: str | None = None, at_key: bool = False) -> ScopeError:
        """An error at `path`, or at the nearest thing above it that the file has."""
        table = self.keys if at_key else self.positions
        position = table.get(path)
        while position is None and path:
            path = path[:-1]
            position = self.positions.get(path)
        return self.error_at(position, message, hint=hint)

    def error_at(self, position: tuple[int, int] | None, message: str, *, hint: str | None = None) -> ScopeError:
        # A link's target or a key of the file may hold anything, and this goes to a terminal.
        message, hint = one_line(message, 2000), None if hint is None else one_line(hint, 2000)
        if position is None or self.name is None:
            where = f"{self.name}: " if self.name else ""
            return ScopeError(where + message, hint=hint, path=self.name)
        line, column = position
        text = f"{self.name}:{line}:{column}: {message}"
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
        raise source.error_at(None, f"the scope file is too large: {len(data)} bytes", hint="at most 256 KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        column = problem.start - (data.rfind(b"\n", 0, problem.start) + 1) + 1
        raise source.error_at((line, column), "the scope file is not UTF-8", hint="save it as UTF-8") from problem
    try:
        return _build(YAML(typ="safe", pure=True).parse(text), source), source
    except ScopeError:
        raise
    except YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        said = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "unreadable"
        position = (mark.line + 1, mark.column + 1) if mark is not None else None
        hint = "indent with spaces, and quote text that has : # { or [ in it"
        raise source.error_at(position, f"not valid YAML: {one_line(said)}", hint=hint) from problem
    except Exception as problem:
        # The parser was not written for hostile input and raises ValueError, OverflowError and others for some of it.
        raise source.error_at(None, f"not valid YAML: {one_line(problem)}", hint="check the quoted text") from problem


def one_line(value: object, limit: int = 80) -> str:
    """Text for an error message: printable, on one line, not longer than a person reads."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(str(value).split(" ")))
    return text if len(text) <= limit else text[: limit - 1] + "…"


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
                raise source.error_at(position, f"nested too deeply: more than {MAX_DEPTH} levels")
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
        if not isinstance(key, str):
            raise source.error_at(position, f"a key must be a word: {one_line(key)}", hint="put it in quotes")
        if key in top.value:
            raise source.error_at(position, f"the same key twice: {one_line(key)}", hint="merge the two")
        top.key = key
        top.value[key] = None
        source.keys[(*top.path, key)] = position
        return
    path = _place(_plain(event, position, source), position, stack, source)
    # The parser places a value that is left out at whatever comes next.
    source.positions[path] = source.keys.get(path, position) if event.value == "" else position


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
        raise source.error_at(position, "text that cannot be written as UTF-8") from None
    if event.style is not None or event.tag == "!":
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
