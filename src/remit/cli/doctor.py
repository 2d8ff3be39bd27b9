"""Say what this machine can enforce, then prove it: every forbidden act is tried from inside a real boundary.

Each attempt comes out `held`, `open` or `skipped`, with the reason; what a named gap covers is said so. Nothing outside
this machine's loopback is touched, and whatever is set up for the attempts is taken away again.

examples:
  remit doctor
  remit doctor --json | jq '.attempts[] | select(.result == "open")'

exit status: 0 when nothing is open but what a named gap covers, 1 when something else is open, 123 when no boundary
can be set up here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from remit.attempts.attempt import OPEN, Attempt, Result
from remit.attempts.catalogue import ATTEMPTS

SCHEMA_VERSION = 1
EXIT_OPEN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")


def run(options: argparse.Namespace) -> int:
    # Imported only now: help and completion need none of it.
    from remit.doctor.examination import examine
    from remit.doctor.machine import find_abilities
    from remit.doctor.table import attempt_lines, machine_lines, summary_line

    abilities = find_abilities()
    if not options.json:
        print("\n".join(machine_lines(abilities)), end="\n\n", flush=True)
    progress = _Progress(sys.stderr.isatty() and not options.json)
    results, header = examine(progress)
    progress.clear()
    open_ones = [result for result in results if result.result == OPEN and not result.gap]
    if options.json:
        said = {
            "schema_version": SCHEMA_VERSION,
            "host": {**header["host"], "user": os.getuid()},
            "abilities": [asdict(ability) for ability in abilities],
            "gaps": header["gaps"],
            "attempts": [
                {"name": a.name, "wall": a.wall, "tries": a.tries, "how": a.how, "result": r.result,
                 "reason": r.reason, "gap": r.gap or None}
                for a, r in zip(ATTEMPTS, results, strict=True)
            ],
        }  # fmt: skip
        print(json.dumps(said, indent=2))
    else:
        print("\n".join(attempt_lines(ATTEMPTS, results)), end="\n\n")
        print(summary_line(results))
    return EXIT_OPEN if open_ones else 0


class _Progress:
    """One line on a terminal that says which attempt was made last."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown
        self._made = 0

    def __call__(self, attempt: Attempt, result: Result) -> None:
        self._made += 1
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{self._made} of {len(ATTEMPTS)}  {attempt.name}: {result.result}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
