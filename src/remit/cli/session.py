"""The host process of a session that a harness drives: `python -m remit.cli.session FD OPTIONS`, for remit.Session.

Its last word on stdout is one JSON object, {ended: …} or {failed, hint, exit_status}.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from remit.boundary.cache import load_plan
from remit.cli.begin import begin_session
from remit.cli.launcher import Request, launch
from remit.cli.own_modules import keep_to_own_modules
from remit.errors import RemitError
from remit.evidence.reader import read_records


def main() -> None:
    keep_to_own_modules()
    harness = socket.socket(fileno=int(sys.argv[1]))
    options = json.loads(sys.argv[2])
    try:
        word: dict[str, Any] = {"ended": _host(harness, options)}
    except RemitError as problem:
        word = {"failed": problem.message, "hint": problem.hint, "exit_status": problem.exit_status}
    print(json.dumps(word))


def _host(harness: socket.socket, options: dict[str, Any]) -> dict[str, Any]:
    scope, evidence = options["scope"], options["evidence"]
    begun = begin_session(evidence)
    try:
        plan = load_plan(
            scope,
            workspace=options["workspace"],
            environment=dict(os.environ),
            accept_gaps=options["accept_gaps"],
            sight=options["sight"],
            observe=options["observe"],
        )
        request = Request(
            plan=plan,
            arguments=None,
            environment=os.environ,
            labels=options["labels"],
            accept_gaps=tuple(options["accept_gaps"]),
            task=options["task"],
            harness=harness,
            despite_open_walls=bool(options.get("despite_open_walls")),
        )
        launched = launch(request, begun)
    except BaseException:
        begun.cancel()
        raise
    ended = launched.wait()
    findings = [record["finding"] for record in read_records(ended.evidence) if record["kind"] == "finding"]
    return {
        "exit_source": ended.exit_source,
        "ended_by": ended.ended_by,
        "denials": ended.denials,
        "findings": findings,
    }


if __name__ == "__main__":
    main()
