"""Say what was tried, what held, and who did it, from the evidence of one session and nothing else.

examples:
  remit report last
  remit report 20260101T120000-1a2b3c4d --format json | jq .findings
"""

from __future__ import annotations

import argparse
import json
import sys

from remit.cli.client import is_running
from remit.evidence.locate import find_evidence
from remit.report.summary import build_report
from remit.report.text import render_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evidence", metavar="DIR", help="an evidence directory, a session id, or `last`")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    evidence = find_evidence(options.evidence)
    report = build_report(evidence, running=is_running(evidence))
    sys.stdout.write(render_text(report) if options.format == "text" else json.dumps(report, indent=2) + "\n")
    return 0
