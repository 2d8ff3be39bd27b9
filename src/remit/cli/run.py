"""Run a command inside its scope, with its output and exit status untouched.

examples:
  remit run -- make test
  remit run --scope scope.yaml --label rollout=17 -- ./agent.sh
  remit run --sight full -- ./agent.sh          refused reads are recorded too
  remit run --observe -- ./agent.sh             let through what a scope could grant; then: remit scope suggest last
  remit run --report report.json --fail-on high -- python3 agent.py

exit status: the command's own; 126, 127 and 128+n as shells give them; 119 ended by a budget or a full disk, 120 by a
verdict (or findings at or above --fail-on), 121 scope error, 122 wall gap not accepted, 123 the boundary could not be
set up, 124 evidence cannot be written, 125 a fault of remit's own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from remit.cli import current_directory
from remit.cli.begin import begin_session
from remit.errors import (
    EXIT_BUDGET,
    EXIT_INTERNAL,
    EXIT_VERDICT,
    BoundaryError,
    RemitError,
    UsageError,
    one_line,
)
from remit.evidence.places import name_of
from remit.plain import Data

if TYPE_CHECKING:
    import argparse

    from remit.cli.launcher import Ended
    from remit.cli.report_place import ReportPlace

SEVERITIES = ("info", "low", "medium", "high", "critical")
_REST = "..."  # argparse.REMAINDER


class Options(Data):
    """What is asked for; the defaults are those of the command line."""

    command: tuple[str, ...]
    scope: str | None = None
    workspace: str | None = None
    tier: str = "auto"
    sight: str = "normal"
    evidence: str | None = None
    label: tuple[str, ...] = ()
    accept_gap: tuple[str, ...] = ()
    phase: str | None = None
    observe: bool = False
    report: str | None = None
    fail_on: str = "never"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_session_arguments(parser)
    parser.add_argument("--phase", metavar="NAME", help="the scope's phase that the command is started in")
    parser.add_argument(
        "--observe",
        action="store_true",
        help="refuse nothing a scope could grant but UDP; record what this one would refuse; implies --sight full",
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write the report as JSON when the session ends; replaces a file of that name"
    )
    parser.add_argument(
        "--fail-on",
        choices=("never", *SEVERITIES),
        default="never",
        help="exit 120 when there is a finding of at least this severity (default: never)",
    )
    parser.add_argument("command", nargs=_REST, metavar="-- COMMAND...", help="what to run")


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that starts a session."""
    parser.add_argument("--scope", metavar="FILE", help="the task's scope (default: the built-in one)")
    parser.add_argument("--workspace", metavar="DIR", help="what $WORKSPACE means (default: here)")
    parser.add_argument(
        "--tier", choices=("auto", "user"), default="auto", help="which walls and sight (default: auto)"
    )
    parser.add_argument(
        "--sight", choices=("normal", "full"), default="normal", help="full: record refused reads too (default: normal)"
    )
    parser.add_argument("--evidence", metavar="DIR", help="a new directory for the evidence")
    parser.add_argument(
        "--label", metavar="KEY=VALUE", action="append", default=[], help="put a label on the session; may be repeated"
    )
    parser.add_argument(
        "--accept-gap",
        metavar="NAME",
        action="append",
        default=[],
        help="start although this wall cannot be built; may be repeated",
    )


def run(parsed: argparse.Namespace) -> int:
    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    given = {name: getattr(parsed, name) for name in Options._fields}
    lists = {"command": tuple(command), "label": tuple(parsed.label), "accept_gap": tuple(parsed.accept_gap)}
    return run_command(Options(**given | lists))


def run_command(options: Options) -> int:
    """Run one session and return the exit status of `remit run`."""
    command = options.command
    if not command:
        raise UsageError("no command given", hint="remit run -- COMMAND [ARGUMENT]...")
    labels = parse_labels(options.label)
    here = current_directory()  # where the command starts, whatever the workspace is
    workspace = options.workspace or here
    place = _report_place(options.report, workspace)
    begun = begin_session(options.evidence)
    # Imported only now: the engine loads meanwhile.
    from remit.boundary.cache import load_plan
    from remit.cli.launcher import Request, launch

    try:
        plan = load_plan(
            options.scope,
            workspace=workspace,
            environment=dict(os.environ),
            accept_gaps=options.accept_gap,
            sight=options.sight,
            observe=options.observe,
        )
        request = Request(
            plan=plan,
            arguments=command,
            environment=os.environ,
            labels=labels,
            accept_gaps=options.accept_gap,
            phase=options.phase,
        )
        launched = launch(request, begun)
    except BaseException as problem:
        begun.cancel()
        if isinstance(problem, BoundaryError | PermissionError) and _is_inside_a_session():
            # Its filter keeps from whatever is inside what a session is made of, whatever its scope grants.
            raise BoundaryError(
                f"remit does not run inside a session of its own: {problem}", hint="run it outside of remit run"
            ) from problem
        raise
    ended = launched.wait()
    if place is not None:
        _write_report(ended, place)
    _notice(ended)
    _explain_missing(command[0], ended)
    return exit_status(ended, options.fail_on)


def _is_inside_a_session() -> bool:
    """As its environment says, which is good enough to explain why nothing could be started."""
    temporary = os.environ.get("TMPDIR", "")
    return temporary.rpartition("/")[2].startswith("remit-") and os.environ.get("HOME") == f"{temporary}/home"


def exit_status(ended: Ended, fail_on: str) -> int:
    """What `remit run` returns for a session that ended so."""
    if ended.ended_by.startswith("verdict"):
        return EXIT_VERDICT
    if ended.ended_by.startswith(("compute.", "evidence.")):
        return EXIT_BUDGET
    if fail_on != "never":
        threshold = SEVERITIES.index(fail_on)
        if any(SEVERITIES.index(severity) >= threshold for severity in ended.severities):
            return EXIT_VERDICT
    if ended.ended_by in ("operator", "harness") and ended.exit_source == "remit":
        return 128 + signal.SIGKILL
    if ended.status is None:
        return EXIT_INTERNAL
    code = os.waitstatus_to_exitcode(ended.status)
    return code if code >= 0 else 128 - code


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE words as a table. Raises UsageError on a word without `=`."""
    labels = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"a label must be KEY=VALUE: {word}", hint="--label rollout=17")
        labels[key] = value
    return labels


def _report_place(report: str | None, workspace: str) -> ReportPlace | None:
    if report is None:
        return None
    from pathlib import Path

    from remit.cli.report_place import ReportPlace

    return ReportPlace(Path(report), Path(workspace))


def _write_report(ended: Ended, place: ReportPlace) -> None:
    """A report that cannot be written is a line on stderr: the status stays the command's."""
    # Imported late: the agent has long run when a report is wanted.
    import json

    from remit.report.summary import build_report

    try:
        place.write(json.dumps(build_report(ended.evidence), indent=2) + "\n")
    except (OSError, RemitError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        print(
            f"remit: cannot write the report {place.path}: {reason}\n"
            f"hint: remit report {name_of(ended.evidence)} --format json > FILE",
            file=sys.stderr,
        )


def _explain_missing(name: str, ended: Ended) -> None:
    """What is not a command is most often a slip of the fingers, or an option of our own behind the `--`."""
    if ended.status is None or os.waitstatus_to_exitcode(ended.status) != 127:
        return
    places = (f"{place}/{name}" for place in os.get_exec_path())
    program = name if "/" in name else next((path for path in places if os.access(path, os.X_OK)), None)
    if program is None:
        options = name.startswith("-")
        print(f"hint: {'remit run --help' if options else 'a command is a name on $PATH or a path'}", file=sys.stderr)
    elif (interpreter := _interpreter(program)) and not os.path.exists(interpreter):
        print(f"hint: {one_line(program)} begins with #!, and there is no {one_line(interpreter)}", file=sys.stderr)


def _interpreter(program: str) -> str:
    """What a script's first line names, or nothing. The agent may have put anything in its place."""
    try:
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            first = file.read(256).split(b"\n")[0]  # as much as the kernel looks at
    except OSError:
        return ""
    return os.fsdecode(first[2:].strip(b" \t").replace(b"\t", b" ").split(b" ")[0]) if first[:2] == b"#!" else ""


def _notice(ended: Ended) -> None:
    """One line on stderr. On a terminal that the command shared, findings are left to the report, but not the end."""
    if ended.unsigned is not None:
        print(f"remit: evidence is not signed to its end: {ended.unsigned}", file=sys.stderr)
    parts = []
    if ended.severities and (ended.exit_source == "remit" or not os.isatty(2)):
        parts.append(f"{len(ended.severities)} finding{'s' if len(ended.severities) > 1 else ''}")
    if ended.exit_source == "remit":
        parts.append(f"ended by {ended.ended_by}")
    if parts:
        print(f"remit: {', '.join(parts)}; remit report {name_of(ended.evidence)}", file=sys.stderr)
