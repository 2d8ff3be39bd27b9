"""Check that evidence is what was written: every record covered by the hash chain, none missing, none changed.

Ends with 0 when the chain is whole and with 124 when it is not; the first bad record is named. A recording that was cut
off is whole but `not closed`.

example:
  remit verify last
"""

from __future__ import annotations

import argparse
import json

from remit.errors import EXIT_EVIDENCE
from remit.evidence.chain import Verification, verify
from remit.evidence.locate import find_evidence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evidence", metavar="DIR", help="an evidence directory, a session id, or `last`")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Verify and say so; 0 or 124."""
    result = verify(find_evidence(options.evidence))
    print(json.dumps(_as_json(result), indent=2) if options.json else "\n".join(_as_text(result)))
    return 0 if result.whole else EXIT_EVIDENCE


def _as_json(result: Verification) -> dict[str, object]:
    damage = result.damage
    return {
        "schema_version": 1,
        "whole": result.whole,
        "closed": result.closed,
        "torn": result.torn,
        "session": result.session,
        "records": result.records,
        "segments": result.segments,
        "head": result.head,
        "damage": damage and {"segment": damage.segment, "line": damage.line, "n": damage.n, "problem": damage.problem},
    }


def _as_text(result: Verification) -> list[str]:
    damage = result.damage
    if damage:
        return [
            f"broken at {damage.segment} line {damage.line}, record {damage.n}: {damage.problem}",
            f"the {result.records} record(s) before it are whole",
        ]
    lines = [
        f"whole, {'closed' if result.closed else 'not closed'}: {result.records} records, session {result.session}"
    ]
    if result.torn:
        lines.append("the last line is torn, as a killed writer leaves it; it is not counted")
    if not result.closed:
        lines.append("it does not end with the closed record, so records after the last one may be missing")
    lines.append(f"head {result.head}")
    return lines
