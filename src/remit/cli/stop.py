"""Freeze a running session, every process of it, until `remit resume`; or end it with --kill.

examples:
  remit stop
  remit stop --session 20260101T120000-1a2b3c4d --kill
"""

from __future__ import annotations

import argparse

from remit.cli.client import Client, counted
from remit.evidence.places import name_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", metavar="ID", help="which session (default: the only one that is running)")
    parser.add_argument("--kill", action="store_true", help="kill every process and end the session")


def run(options: argparse.Namespace) -> int:
    client = Client(options.session)
    if options.kill:
        count = client.ask({"do": "kill"})
        print(f"killed {counted(count)}; remit report {name_of(client.evidence)}")
    else:
        count = client.ask({"do": "freeze"})
        print(f"froze {counted(count)}; remit resume --session {name_of(client.evidence)}")
    return 0
