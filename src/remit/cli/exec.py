"""Run a command inside a session that is already running, charged to one step.

examples:
  remit exec --step call_7 --tool bash -- make test
  remit exec --session 20260101T120000-1a2b3c4d --step call_8 -- bash -c 'ls'

The step begins when the command starts and ends with it, or with this process; one that a gateway has begun (`remit
gateway`) goes on until its result is sent. Signals are passed on to the command,
SIGINT and SIGQUIT to its whole process group.

exit status: the command's, and 128+n when signal n killed it; 2 when no such session runs, when it is frozen, or when
the step's id was used before; 125 when the session ended before the command did.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from remit.cli import current_directory
from remit.cli.client import Client
from remit.errors import RemitError, UsageError
from remit.evidence.places import name_of

_FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", metavar="ID", help="which session (default: the only one that is running)")
    parser.add_argument("--step", metavar="ID", required=True, help="the step's id, such as the tool call's")
    parser.add_argument("--tool", default="exec", help="the tool's name (default: exec)")
    parser.add_argument("--phase", help="the scope's phase that this step belongs to")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...", help="what to run")


def run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("no command given", hint="remit exec --step ID -- COMMAND [ARGUMENT]...")
    here = current_directory()
    client = Client(options.session)
    mark = {"do": "step", "step": options.step, "tool": options.tool, "phase": options.phase}
    begun = client.ask({**mark, "mark": "begin", "join": True, "arguments": {"command": command}})
    spawn = client.ask(
        {
            "do": "spawn",
            "step": options.step,
            "arguments": command,
            "environment": None,
            "directory": here,
            "new_session": True,
        },
        (0, 1, 2),
    )
    _pass_on_signals(client, spawn)
    status = client.wait_for_end(spawn)
    if status is None:
        raise RemitError("the session ended before the command did", hint=f"remit report {name_of(client.evidence)}")
    if begun is None:
        client.ask({**mark, "mark": "end"})
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pass_on_signals(client: Client, spawn: int) -> None:
    """The command is in a terminal session of its own, so Ctrl-C reaches us alone."""

    def forward(number: int, frame: Any) -> None:
        # A terminal sends these to everybody in front of it; the command and its children are a session of their own.
        group = number in (signal.SIGINT, signal.SIGQUIT)
        client.tell({"do": "signal", "spawn": spawn, "signal": number, "group": group})

    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
