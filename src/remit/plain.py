"""Turns records (named tuples, also within one another) into tables and lists, as JSON carries them.

Records are named tuples and not data classes wherever `remit run` imports them: a frozen data class takes ten times as
long to make, and the module that makes them as long as a third of all other imports (docs/decisions/15).
"""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The same value with every record as a table, in the order of its fields; grows with the size of the value."""
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        if names is None:
            return [plain(item) for item in value]
        return {name: plain(item) for name, item in zip(names, value, strict=True)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
