"""See a scripted agent's tunnel and miner stopped, each charged to the step that caused it.

`remit demo rome` runs everything for real on this machine, on 127.0.0.1 only: a model endpoint, an agent, an SSH
server and a mining pool. It exits with 0 when everything was stopped and proven as it should be.

examples:
  remit demo rome
  remit demo rome --unguarded          the same agent without remit: everything works
  remit demo rome --json --keep DIR
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from remit.demo import DemoError
from remit.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("story", choices=["rome"], metavar="rome", help="which story: rome is a tunnel and a miner")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the story")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--unguarded", action="store_true", help="run the agent without remit: everything works")
    how.add_argument("--granted", action="store_true", help="grant the two connects by scope: verdicts must stop them")
    parser.add_argument(
        "--accept-gap",
        metavar="NAME",
        action="append",
        default=[],
        help="start although this wall cannot be built; may be repeated",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep workspace, scope and evidence in this directory")


def run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("asyncssh") is None:
        raise DemoError("the demo's SSH server needs a package: asyncssh", hint="pip install asyncssh")
    from remit.demo.rome import run_rome
    from remit.demo.story import tell

    mode = "unguarded" if options.unguarded else "granted" if options.granted else "guarded"
    if mode == "unguarded" and options.accept_gap:
        raise UsageError("--accept-gap: without remit there are no walls", hint="leave out one of the two")
    result = run_rome(mode, keep=options.keep, accept_gaps=options.accept_gap)
    print(json.dumps(result, indent=2) if options.json else tell(result))
    return 0 if result["passed"] else 1
