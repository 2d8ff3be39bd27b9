"""Check a scope file, explain it in plain English, suggest one from evidence, or print the language's JSON Schema.

examples:
  remit scope check scope.yaml
  remit scope explain                  what the default scope grants here
  remit scope explain scope.yaml       every grant, its clause, and the wall that holds it
  remit scope explain --text           the default scope itself, to start your own from
  remit scope explain scope.yaml --plan | jq .files
  remit scope suggest last --output scope.yaml
                                       what the last session used, and no more; best after remit run --observe
  remit scope schema > scope.schema.json

exit status: 0, or 121 when the scope is wrong. A wall gap that is not accepted is told here and refused by `remit run`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remit.cli import current_directory
from remit.cli.parser import raw_text
from remit.errors import ScopeError, UsageError

if TYPE_CHECKING:
    from remit.plan import Plan

SCHEMA_VERSION = 1

_ACTIONS = {
    "check": (
        "say whether a scope is right, and where it is not",
        """\
Ends with 0, or with 121 and the line and column of the first mistake. That a wall cannot be built here is a hint.

examples:
  remit scope check scope.yaml
  remit scope check scope.yaml --json | jq .error""",
    ),
    "explain": (
        "say what a scope grants, and what holds it here",
        """\
Every grant with the clause that gives it, every wall with its strength, every gap.

examples:
  remit scope explain
  remit scope explain scope.yaml --workspace ~/work/repository
  remit scope explain --text > scope.yaml""",
    ),
    "suggest": (
        "write the smallest scope for what a session did",
        """\
Best of a session that `remit run --observe` ran. Presets where they cover what was used, directories in place of long
lists of files, budgets with room; secrets, and what was refused, are comments.

examples:
  remit scope suggest last
  remit scope suggest last --output scope.yaml""",
    ),
    "schema": (
        "print the JSON Schema of scope files",
        """\
For editors, and for programs that write scopes.

example:
  remit scope schema > scope.schema.json""",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|explain|suggest|schema")
    check, explain, suggest, schema = (_add_action(actions, name) for name in _ACTIONS)
    suggest.add_argument("evidence", metavar="DIR", help="an evidence directory, a session id, or `last`")
    suggest.add_argument("--output", metavar="FILE", type=Path, help="write it there; must not exist yet")
    for action in (check, explain):
        action.add_argument(
            "file", metavar="FILE", nargs="?", type=Path, help="a scope file (default: the built-in one)"
        )
        action.add_argument("--workspace", metavar="DIR", type=Path, help="what $WORKSPACE means (default: here)")
        action.add_argument("--json", action="store_true", help="print JSON")
        action.add_argument("--observe", action="store_true", help="as for `remit run --observe`")
    explain.add_argument("--plan", action="store_true", help="print the compiled plan as JSON")
    explain.add_argument("--text", action="store_true", help="print the scope's own YAML")
    schema.add_argument("--json", action="store_true", help="accepted for symmetry: a schema is always JSON")


def _add_action(actions: Any, name: str) -> argparse.ArgumentParser:
    summary, more = _ACTIONS[name]
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{more}",
        formatter_class=raw_text,
        allow_abbrev=False,
    )
    return parser


def run(options: argparse.Namespace) -> int:
    if options.action == "schema":
        _print_json(json_schema())
        return 0
    if options.action == "suggest":
        return _suggest(options)
    if options.action == "check":
        return _check(options)
    return _explain(options)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the scope language, for editors."""
    from remit.scope.model import Scope

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "remit scope",
        **Scope.model_json_schema(by_alias=True),
    }


def _check(options: argparse.Namespace) -> int:
    try:
        plan = _plan(options)
    except ScopeError as problem:
        if not options.json:
            raise
        error = {name: getattr(problem, name) for name in ("message", "hint", "path", "line", "column")}
        _print_json({"schema_version": SCHEMA_VERSION, "valid": False, "error": error})
        return problem.exit_status
    open_gaps = [gap.name for gap in plan.gaps if gap.kind == "wall" and not gap.accepted]
    if options.json:
        report = {"schema_version": SCHEMA_VERSION, "valid": True, "task": plan.task, "digest": plan.scope_digest}
        _print_json({**report, "unaccepted_gaps": open_gaps})
        return 0
    print(f"{_name(options)}: OK")
    for gap in open_gaps:
        print(f"hint: `remit run` refuses here unless the gap is accepted: --accept-gap {gap}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    if options.text:
        from remit.boundary.cache import scope_bytes

        sys.stdout.write(scope_bytes(options.file).decode(errors="backslashreplace"))
        return 0
    plan = _plan(options)
    from remit.plan import plan_to_json

    if options.plan:
        _print_json(json.loads(plan_to_json(plan)))
        return 0
    if options.json:
        shown = json.loads(plan_to_json(plan))
        del shown["seccomp"], shown["version"]
        _print_json({"schema_version": SCHEMA_VERSION, **shown})
        return 0
    from remit.boundary.host import find_host
    from remit.scope.explain import explain_plan

    host = find_host()
    words = f"Linux {host.kernel}, {host.machine}, Landlock ABI {host.landlock_abi}"
    sys.stdout.write(explain_plan(plan, name=_name(options), host=words))
    return 0


def _suggest(options: argparse.Namespace) -> int:
    from remit.boundary.cache import plans_root
    from remit.boundary.grants import preset_grants
    from remit.evidence.locate import find_evidence
    from remit.evidence.places import sessions_place
    from remit.report.uses import gather_uses
    from remit.scope.presets import PRESETS, find_preset
    from remit.scope.suggest import suggest_scope
    from remit.scope.variables import find_places

    session = gather_uses(find_evidence(options.evidence))
    places = find_places(session.workspace, dict(os.environ))
    presets = {name: preset_grants(find_preset(name, places), places) for name in PRESETS}
    withheld = (os.path.dirname(sessions_place()), os.path.dirname(plans_root(os.environ)))
    text = suggest_scope(session, presets, os.path.exists, withheld=withheld)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        with open(options.output, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        exists = isinstance(problem, FileExistsError)
        hint = "name a file that is not there yet" if exists else "name a file in a directory that you can write"
        raise UsageError(f"cannot write the scope: {options.output}: {problem.strerror}", hint=hint) from problem
    return 0


def _name(options: argparse.Namespace) -> str:
    return "the default scope" if options.file is None else str(options.file)


def _plan(options: argparse.Namespace) -> Plan:
    from remit.boundary.cache import load_plan

    return load_plan(
        options.file,
        workspace=options.workspace or current_directory(),
        environment=dict(os.environ),
        observe=options.observe,
    )


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
