"""The parser of every command: what is wrong with a command line is one line and a hint, like any other error."""

from __future__ import annotations

import argparse
from typing import NoReturn

from remit.errors import UsageError

_MISSING = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """argparse with remit's way of saying what is wrong: the hint is the usage line, on one line."""

    def error(self, message: str) -> NoReturn:
        if message.startswith(_MISSING):
            message = f"missing: {message.removeprefix(_MISSING)}"
        usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
        raise UsageError(message, hint=usage)
