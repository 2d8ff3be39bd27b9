"""The parser of every command: what is wrong with a command line is one line and a hint, like any other error."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from remit.errors import UsageError

_MISSING = "the following arguments are required: "
_UNKNOWN = "unrecognized arguments: "


def raw_text(prog: str) -> argparse.HelpFormatter:
    """Descriptions as they are written. The width is given, for finding it argparse imports all of shutil."""
    return argparse.RawDescriptionHelpFormatter(prog, width=_columns() - 2)


class Parser(argparse.ArgumentParser):
    """argparse with remit's way of saying what is wrong: the hint is the option that was meant, or the usage line."""

    def error(self, message: str) -> NoReturn:
        if message.startswith(_UNKNOWN) and (meant := _closest(message.removeprefix(_UNKNOWN).split(), _options(self))):
            raise UsageError(message, hint=f"did you mean {meant}?")
        if message.startswith(_MISSING):
            message = f"missing: {message.removeprefix(_MISSING)}"
        usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
        raise UsageError(message, hint=usage)


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a parser and of its actions'."""
    found = []
    for action in parser._actions:
        found += [word for word in action.option_strings if word.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            found += [word for below in action.choices.values() for word in _options(below)]
    return found


def _closest(unknown: list[str], options: list[str]) -> str | None:
    """The option that one of these words is nearly, or None."""
    import difflib  # only a mistake pays for it

    names = {option.removeprefix("--"): option for option in options}
    for word in unknown:
        name = word.partition("=")[0]
        if name.startswith("-") and (close := difflib.get_close_matches(name.lstrip("-"), names, n=1, cutoff=0.7)):
            return names[close[0]]
    return None


def _columns() -> int:
    """As shutil.get_terminal_size does it."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
