"""A scope file is accepted whole or refused with one error that says where, what, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from remit.errors import ScopeError, one_line
from remit.scope import model
from remit.scope.document import Path, Source, plain_value, read_document


@dataclass(frozen=True, slots=True)
class ParsedScope:
    """A scope and where its parts stand."""

    scope: model.Scope
    source: Source


def parse_scope(data: bytes, name: str | None = None) -> ParsedScope:
    """The scope in `data`; raises ScopeError, and nothing else, for anything that is not one."""
    value, source = read_document(data, name)
    if not isinstance(value, dict):
        raise source.error_at(
            (1, 1),
            "the scope file is empty" if value is None else "a scope file is a mapping of keys",
            hint="begin with `remit: 1` and `task: NAME`",
        )
    if "remit" not in value:
        raise source.error((), "missing key: remit", hint="begin with `remit: 1`")
    try:
        return ParsedScope(model.Scope.model_validate(value), source)
    except ValidationError as problem:
        raise _first_error(problem, value, source) from problem


def clause(path: Path) -> str:
    """A place in the scope as it is cited: `files.write[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _first_error(problem: ValidationError, value: dict[str, Any], source: Source) -> ScopeError:
    errors = problem.errors(include_url=False)
    placed = [(_in_file(error["loc"], value), error) for error in errors]
    # An unknown key often explains the rest, for instance a key that is then missing.
    placed.sort(key=lambda item: (item[1]["type"] != "extra_forbidden", source.positions.get(item[0], (1, 1))))
    path, error = placed[0]
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key(path, source)
    if kind == "missing":
        name = clause((*path, str(error["loc"][-1])))
        return source.error(path, f"missing key: {name}", hint=f"add `{error['loc'][-1]}:`")
    shown, where = one_line(_show(error["input"])), clause(path) or "the scope"
    if where == "model.credential":
        shown = "(not shown)"  # it may be the secret itself
    message, hint = _sentence(kind, error, context), _hint(kind, error, context, list(_keys_at(path)))
    at_key = str(error["loc"][-1]) == "[key]"
    return source.error(path, f"{where}: {message}: {shown}", hint=hint, at_key=at_key)


def _in_file(location: tuple[int | str, ...], value: object) -> Path:
    """The part of pydantic's location that is a place in the file: it adds names of its own validators."""
    path: list[int | str] = []
    for part in location:
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_list or (isinstance(value, dict) and part in value):
            value = value[part]  # type: ignore[index]
            path.append(part)
    return tuple(path)


def _unknown_key(path: Path, source: Source) -> ScopeError:
    key, parent = str(path[-1]), path[:-1]
    known = list(_keys_at(parent))
    place = f" in {clause(parent)}" if parent else ""
    return source.error(path, f"unknown key{place}: {one_line(key)}", hint=_nearest(key, known), at_key=True)


def _keys_at(path: Path) -> Iterable[str]:
    shape: Any = model.Scope
    for part in path:
        if isinstance(part, int) or not (isinstance(shape, type) and issubclass(shape, BaseModel)):
            continue
        for name, field in shape.model_fields.items():
            if (field.alias or name) == part:
                shape = next((t for t in _types_in(field.annotation)), None)
                break
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return [field.alias or name for name, field in shape.model_fields.items()]
    return []


def _types_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _types_in(argument)


def _nearest(word: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(word), known, 1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return ("known here: " + " ".join(known)) if known else "take it out"


def _choices(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]


def _show(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (value.strip() != value or not isinstance(plain_value(value), str)):
        return f'"{value}"'  # it stood in quotes in the file, or would not be seen
    return str(value)


def _sentence(kind: str, error: Any, context: dict[str, Any]) -> str:
    """What is wrong, to be followed by the value."""
    if kind == "scope":
        return str(context["said"])
    if kind == "literal_error":
        choices = _choices(str(context["expected"]))
        return (
            f"not one of {' '.join(choices)}"
            if len(choices) <= 4
            else f"not one of the {len(choices)} words known here"
        )
    known = {
        "string_type": "must be text",
        "int_type": "must be a whole number",
        "list_type": "must be a list",
        "model_type": "must be a mapping of keys",
        "dict_type": "must be a mapping of keys",
        "string_too_short": "must not be empty",
        "string_too_long": f"longer than {context.get('max_length')} characters",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
    }
    message = str(error["msg"])
    return known.get(kind, message[:1].lower() + message[1:])


def _hint(kind: str, error: Any, context: dict[str, Any], keys: list[str]) -> str:
    """What to write instead."""
    value = error["input"]
    if kind == "scope":
        return str(context["hint"])
    if kind == "literal_error":
        return _nearest(value, _choices(str(context["expected"])))
    if kind == "string_type":
        simple = isinstance(value, (bool, int, float))
        return f'put it in quotes: "{_show(value)}"' if simple else 'write one text: "..."'
    if kind == "int_type":
        digits = isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,17}", value)
        return f"leave the quotes out: {value}" if digits else "write digits alone, such as 256"
    if kind == "list_type":
        single = isinstance(value, (str, int, float))
        return (
            f"write it as a list: [{one_line(_show(value))}]"
            if single
            else "write it as a list: [...], or leave it out"
        )
    if kind in ("model_type", "dict_type"):
        return f"write keys beneath it: {' '.join(keys)}" if keys else "write `name: value` beneath it, or leave it out"
    if kind in ("greater_than_equal", "less_than_equal"):
        return "leave the key out for no limit"
    return {"string_too_long": "shorten it", "string_too_short": "write something"}.get(
        kind, "remit scope schema describes every key"
    )
