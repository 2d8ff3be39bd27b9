"""Makes plain data safe to show: every string in it, keys included, loses control, bidi and invisible characters."""

from __future__ import annotations

import json
from typing import Any

from remit.findings import printable

LONGEST = 400


def clean(value: Any) -> Any:
    """The same data with every string made printable, for rendering to a person; JSON output needs no such thing."""
    if isinstance(value, str):
        return printable(value, LONGEST)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def one_line(value: Any, longest: int = 100) -> str:
    """Tool-call arguments as one short line: the command itself when that is all there is."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(" ".join(text.split()), longest)
