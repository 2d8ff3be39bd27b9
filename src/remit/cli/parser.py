"""The parser of every command: what is wrong with a command line is one line and a hint, like any other error."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

from remit.errors import UsageError

_MISSING = "the following arguments are required: "


def raw_text(prog: str) -> argparse.HelpFormatter:
    """Descriptions as they are written. The width is given, for finding it argparse imports all of shutil."""
    return argparse.RawDescriptionHelpFormatter(prog, width=_columns() - 2)


class Parser(argparse.ArgumentParser):
    """argparse with remit's way of saying what is wrong: the hint is the usage line, on one line."""

    def error(self, message: str) -> NoReturn:
        if message.startswith(_MISSING):
            message = f"missing: {message.removeprefix(_MISSING)}"
        usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
        raise UsageError(message, hint=usage)


def _columns() -> int:
    """As shutil.get_terminal_size does it."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
