"""Which members of a tool call's arguments name what is to be run: a shell's text, or a list of words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MEMBERS = ("command", "cmd", "commands", "script", "code", "argv")
_DEEPEST = 6


def commands_in(arguments: Any, deepest: int = _DEEPEST) -> Iterator[str | list[str]]:
    """The commands in the order in which they stand there, however deep."""
    if isinstance(arguments, list):
        for member in arguments if deepest else ():
            yield from commands_in(member, deepest - 1)
    for name, member in arguments.items() if isinstance(arguments, dict) else ():
        if name in _MEMBERS and _is_command(member):
            yield member
        elif deepest:
            yield from commands_in(member, deepest - 1)


def names_anything(arguments: Any) -> bool:
    """Whether there is something to read: an object, or a list, that is not empty."""
    return isinstance(arguments, dict | list) and bool(arguments)


def _is_command(member: Any) -> bool:
    if isinstance(member, list):
        return all(isinstance(word, str) for word in member)
    return isinstance(member, str) and bool(member.strip())
