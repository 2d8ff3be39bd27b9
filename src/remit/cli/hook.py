"""Tell the session what an agent's command hook says: Claude Code calls it, and the tool call becomes a claim.

examples:
  remit hook install                              into .claude/settings.json of the current directory
  remit hook install --settings ~/.claude/settings.json
  remit hook uninstall
  echo '{"hook_event_name": "PreToolUse", "tool_use_id": "t1", "tool_name": "Bash"}' | remit hook

Without an action it reads one JSON object on stdin. It prints nothing and ends with 0, whatever happens: outside a
session, or in one whose scope has no `claims: [socket]`, it does nothing. A scope for it has `use: [..., hook]`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import Any

from remit.cli import hook_settings
from remit.cli.parser import raw_text
from remit.clock.hooks import tell
from remit.errors import UsageError

SCHEMA_VERSION = 1
_DEFAULT = ".claude/settings.json"
_ACTIONS = {
    "install": "put the hook into the settings of Claude Code, beside what is there",
    "uninstall": "take the hook out of the settings of Claude Code",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="install|uninstall")
    for name, summary in _ACTIONS.items():
        action: Any = actions.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.\n\nexamples:\n  remit hook {name}\n"
            f"  remit hook {name} --settings ~/.claude/settings.json",
            formatter_class=raw_text,
            allow_abbrev=False,
        )
        action.add_argument("--settings", metavar="FILE", default=_DEFAULT, help=f"default: {_DEFAULT}")
        action.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    if options.action is None:
        return tell()
    path = os.path.abspath(options.settings)
    before = hook_settings.read_settings(path)
    if options.action == "install":
        after = hook_settings.with_hook(before, f"{shlex.quote(_own_command())} hook")
    else:
        after = hook_settings.without_hook(before)
    if after != before:
        hook_settings.write_settings(path, after)
    changed = after != before
    if options.json:
        print(json.dumps({"schema_version": SCHEMA_VERSION, "settings": path, "changed": changed}))
        return 0
    print(f"{path}: {'changed' if changed else 'left as it was'}")
    if options.action == "install":
        print("a scope for it has: claims: [socket], and hook among its presets (use)")
    return 0


def _own_command() -> str:
    """Where `remit` is: beside the interpreter that runs now, or on $PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "remit")
    for place in (beside, *(os.path.join(folder, "remit") for folder in os.get_exec_path())):
        if os.path.isabs(place) and os.access(place, os.X_OK) and os.path.isfile(place):
            return place
    raise UsageError("the command remit is not on $PATH", hint="pip install remit")
