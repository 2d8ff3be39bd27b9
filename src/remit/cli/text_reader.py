"""The process that reads what tool calls say, beside the model gateway: `python -m remit.cli.text_reader`."""

from __future__ import annotations

import sys

from remit.cli.own_modules import keep_to_own_modules

COMMAND = (sys.executable, "-I", "-m", "remit.cli.text_reader")


def main() -> None:
    keep_to_own_modules()
    from remit.clock.text_reader import main as read
    from remit.kernel import process

    process.set_name("remit-reader")
    read()


if __name__ == "__main__":
    main()
