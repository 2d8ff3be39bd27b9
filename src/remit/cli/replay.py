"""Recompute the findings from the evidence and compare them with the recorded ones, byte for byte.

Ends with 0 when they are identical and with 124 when they are not. For a recording that was cut off, or whose
engine was lost, the recorded findings must be the first of the recomputed ones.

example:
  remit replay last
"""

from __future__ import annotations

import argparse
import json
import sys

from remit.engine.replay import Replay, replay
from remit.errors import EXIT_EVIDENCE
from remit.evidence.locate import find_evidence
from remit.evidence.places import name_of
from remit.findings import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evidence", metavar="DIR", help="an evidence directory, a session id, or `last`")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, with what was recomputed")


def run(options: argparse.Namespace) -> int:
    """Replay and say whether live and replay agree; 0 or 124."""
    evidence = find_evidence(options.evidence)
    result = replay(evidence)
    print(json.dumps(_as_json(result), indent=2) if options.json else "\n".join(_as_text(result)))
    if not result.identical:
        print(f"hint: remit verify {name_of(evidence)}", file=sys.stderr)
    return 0 if result.identical else EXIT_EVIDENCE


def _as_json(result: Replay) -> dict[str, object]:
    return {
        "schema_version": 1,
        "identical": result.identical,
        "closed": result.closed,
        "engine_lost": result.engine_lost,
        "recorded": [json.loads(message) for message in result.recorded],
        "recomputed": [json.loads(message) for message in result.recomputed],
        "difference": result.difference,
    }


def _as_text(result: Replay) -> list[str]:
    missing = len(result.recomputed) - len(result.recorded)
    if result.identical:
        lines = [f"identical: {len(result.recorded)} findings and verdicts"]
        if missing:
            reason = "the engine was lost" if result.engine_lost else "the recording was cut off"
            lines.append(f"{reason}; {missing} more were recomputed and not recorded")
        return lines
    index = result.difference or 0
    sizes = f"{len(result.recorded)} recorded, {len(result.recomputed)} recomputed"
    return [
        f"different: {sizes}, first difference at {index + 1}",
        f"recorded:   {_shown(result.recorded, index)}",
        f"recomputed: {_shown(result.recomputed, index)}",
    ]


def _shown(messages: tuple[bytes, ...], index: int) -> str:
    return printable(messages[index].decode("ascii", "replace"), 300) if index < len(messages) else "nothing"
