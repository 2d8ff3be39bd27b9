"""Run an MCP server inside its scope, and pass on what it and its client say: each tool call is a step.

examples:
  remit mcp --scope scope.yaml -- python3 server.py
  remit mcp --scope scope.yaml --each-call fetch -- python3 server.py
  remit mcp --scope scope.yaml --tool-scope read_file=reading.yaml -- python3 server.py
  remit mcp --scope scope.yaml --listen 127.0.0.1:8000 -- python3 server.py

Put it where the client's settings name the server's command. Standard input and output are the client's; notices and
the server's own words go to standard error. With --listen clients come over streamable HTTP instead, and each of their
sessions has a server of its own.

exit status: 0 when the client, or a signal, ended the conversation, else the server's own, and 128+n when signal n
killed it; 1 when the conversation could not go on; 119 to 125 as for remit run.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import ipaddress
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from remit.cli import current_directory
from remit.cli.run import add_session_arguments, parse_labels
from remit.errors import EXIT_BUDGET, EXIT_VERDICT, UsageError
from remit.evidence.places import mcp_place

if TYPE_CHECKING:
    from remit.clock.mcp_proxy import Settings

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_session_arguments(parser)
    parser.add_argument(
        "--tool-scope",
        metavar="TOOL=FILE",
        action="append",
        default=[],
        help="give calls of this tool to a server of their own, in a session with this scope; may be repeated",
    )
    parser.add_argument(
        "--each-call",
        metavar="TOOL",
        action="append",
        default=[],
        help="start a server of its own for each call of this tool, so that what it does is proven; may be repeated",
    )
    parser.add_argument(
        "--accept-tools", action="store_true", help="take the tools as the server describes them now for known"
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS:PORT", help="serve streamable HTTP on this address of loopback, at /mcp"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- SERVER...", help="the server to run")


def run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("no server given", hint="remit mcp --scope FILE -- SERVER [ARGUMENT]...")
    here = current_directory()
    listener = _listener(options) if options.listen else None
    # Imported only now: a mistake on the command line is told at once.
    from remit.clock.mcp_proxy import Settings, serve_stdio, warn
    from remit.clock.mcp_server import ENDED, ENDED_OUTPUT

    gc.enable()  # a command that stays
    settings = Settings(
        command,
        scope=options.scope,
        options=_session_options(options, here),
        known=mcp_place(),
        tool_scopes=_tool_scopes(options.tool_scope),
        each_call=options.each_call,
        accept_tools=options.accept_tools,
    )
    if listener is not None:
        return _serve_http(settings, listener)
    ended = threading.Event()
    for number in _ENDING:
        signal.signal(number, lambda number, frame: ended.set())
    status, ended_by, reason = serve_stdio(settings, ended)
    if ended_by.startswith("verdict"):
        return EXIT_VERDICT
    if ended_by.startswith(("compute.", "evidence.")):
        return EXIT_BUDGET
    if not reason:
        return 0
    if status is None or reason not in (ENDED, ENDED_OUTPUT):
        warn(f"the server is gone: {reason}")
        return 1
    return status if status >= 0 else 128 - status


def _listener(options: argparse.Namespace) -> socket.socket:
    """Raises UsageError. Nobody has to log in, so nobody but this machine may come."""
    if options.evidence:
        raise UsageError("--evidence names one session's, and --listen has many", hint="tell them apart with --label")
    host, colon, port = options.listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        if not (colon and address.is_loopback and port.isdecimal()):
            raise ValueError
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        return socket.create_server((str(address), int(port)), family=family)
    except (ValueError, OverflowError):
        problem = f"--listen must be an address of loopback and a port: {options.listen}"
        raise UsageError(problem, hint="--listen 127.0.0.1:8000") from None
    except OSError as problem:
        raise UsageError(f"cannot listen: {problem.strerror}: {options.listen}", hint="another port, or 0") from None


def _serve_http(settings: Settings, listener: socket.socket) -> int:
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("what --listen is made of is missing: mcp", hint="pip install 'remit[mcp]'")
    from remit.boundary.cache import load_plan
    from remit.clock.mcp_http import run_http

    options = settings.options
    for scope in (settings.scope, *settings.tool_scopes.values()):
        # What is wrong with it is told now, and not to the first client.
        load_plan(
            scope,
            workspace=options["workspace"],
            environment=dict(os.environ),
            accept_gaps=options["accept_gaps"],
            sight=options["sight"],
        )
    for number in _ENDING:
        signal.signal(number, lambda number, frame: None)  # uvicorn takes them, and hands them on to this at its end
    run_http(settings, listener)
    return 0


def _session_options(options: argparse.Namespace, here: str) -> dict[str, Any]:
    return {
        "workspace": options.workspace or here,
        "labels": parse_labels(options.label),
        "evidence": options.evidence and os.path.abspath(options.evidence),
        "accept_gaps": options.accept_gap,
        "sight": options.sight,
    }


def _tool_scopes(words: list[str]) -> dict[str, str]:
    scopes = {}
    for word in words:
        tool, equals, file = word.partition("=")
        if not (tool and equals and file):
            raise UsageError(f"a tool's scope must be TOOL=FILE: {word}", hint="--tool-scope read_file=reading.yaml")
        scopes[tool] = os.path.abspath(file)
    return scopes
