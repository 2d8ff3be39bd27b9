"""Whether a program is what a tool call asks for, by the call's arguments; time has no say in it.

A call names a command as text (`command: "make test"`), or as a list of words. The program is its shell with that text,
the words themselves, or a shell, or a runner such as timeout, that was given the text whole to be run. What is
believed is the image that ran: an argument vector says what its maker wants.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise
from typing import Any

from remit.tool_arguments import commands_in

EXACT, CARRIED, NONE = 2, 1, 0
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox"})
_RUNNERS = frozenset({"env", "timeout", "nice", "nohup", "setsid", "stdbuf"})
_RUN = frozenset({"eval", "-c", "-lc", "-ic", "-lic"})  # the word behind it is a program
_SYSTEM = ("/usr/", "/bin/", "/opt/", "/nix/", "/gnu/", "/snap/")
_MOST_COMMANDS = 16
_LONGEST = 1 << 16  # of a line that is read word by word


def asks_for(arguments: Any, image: str, program: tuple[str, ...]) -> int:
    """How surely a call with these arguments asks for this image and argument vector: EXACT, CARRIED or NONE."""
    if not program:
        return NONE
    commands = list(islice(commands_in(arguments), _MOST_COMMANDS))
    if not commands:
        return NONE
    name = image.rpartition("/")[2]
    line = shell_line(program) if is_system_shell(image) else None
    runs = name in _RUNNERS and image.startswith(_SYSTEM)
    inner = _words(line) if line is not None else list(program) if runs else []
    return max(_fits(command, image, program, line, inner) for command in commands)


def is_system_shell(image: str) -> bool:
    """Whether a program is a shell that the agent had no hand in."""
    return image.rpartition("/")[2] in _SHELLS and image.startswith(_SYSTEM)


def _fits(command: str | list[str], image: str, program: tuple[str, ...], line: str | None, inner: list[str]) -> int:
    if isinstance(command, list):
        return EXACT if tuple(command) == program and is_named(image, program) else NONE
    if line is not None and line.strip() == command.strip():
        return EXACT
    if line is None and not inner and _words(command) == list(program) and is_named(image, program):
        return EXACT
    return CARRIED if any(word == command and before in _RUN for before, word in pairwise(inner)) else NONE


def is_named(image: str, program: tuple[str, ...]) -> bool:
    """Whether an image is what the vector's first word names: `python3` is python3.11, and the system's `sh` is dash.
    Whoever starts a program gives it any first word."""
    name = program[0].rpartition("/")[2] if program else ""
    if name in _SHELLS:
        return is_system_shell(image)
    return bool(name) and re.fullmatch(re.escape(name) + r"[\d.]*", image.rpartition("/")[2]) is not None


def shell_line(program: tuple[str, ...]) -> str | None:
    """The text of `sh -c TEXT`, whatever the options before it."""
    if not program or program[0].rpartition("/")[2].lstrip("-") not in _SHELLS:
        return None
    for place, word in enumerate(program[1:-1], start=1):
        if not word.startswith(("-", "+")):
            return None
        if not word.startswith("--") and "c" in word:
            rest = [more for more in program[place + 1 :] if not more.startswith("-")]
            return rest[0] if rest else None
    return None


def _words(line: str) -> list[str]:
    if len(line) > _LONGEST:
        return []
    import shlex  # most sessions have no gateway, and so nothing to compare

    try:
        return shlex.split(line)
    except ValueError:
        return []
