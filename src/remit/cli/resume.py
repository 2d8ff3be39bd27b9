"""Let a frozen session go on.

example:
  remit resume --session 20260101T120000-1a2b3c4d
"""

from __future__ import annotations

import argparse

from remit.cli.client import Client, counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", metavar="ID", help="which session (default: the only one that is running)")


def run(options: argparse.Namespace) -> int:
    client = Client(options.session)
    print(f"resumed {counted(client.ask({'do': 'resume'}))}")
    return 0
