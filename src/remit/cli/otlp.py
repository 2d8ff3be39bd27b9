"""Run a command whose OpenTelemetry exporter is heard: spans of its tool calls become claims. For use inside a session.

examples:
  remit otlp -- python3 agent.py
  remit run --scope scope.yaml -- remit otlp -- python3 agent.py

A scope for it has `claims: [socket]`, `hook` among its presets, and under network the port of loopback, 4318 unless
--port names another, in `connect` and `listen`, both with `cidr: self`. Outside of such a session the command is run
as it is, and nothing listens.

exit status: the command's, and 128+n when signal n killed it; 126 or 127 when it cannot be run; 2 when the port cannot
be had.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from remit.clock.claimant import is_inside
from remit.errors import UsageError

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=4318, metavar="PORT", help="of 127.0.0.1 (default: 4318)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...", help="what to run")


def run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("no command given", hint="remit otlp -- COMMAND [ARGUMENT]...")
    if not 0 < options.port < 65536:
        raise UsageError(f"not a port: {options.port}", hint="--port 4318")
    if not is_inside():
        return _replace(command)
    import subprocess
    import threading

    from remit.clock.telemetry import Receiver

    try:
        receiver = Receiver(options.port)
    except OSError as problem:
        own = f"{{cidr: self, port: {options.port}}}"
        raise UsageError(
            f"cannot listen on 127.0.0.1:{options.port}: {problem.strerror}",
            hint=f"in the scope: network: {{connect: [{own}], listen: [{own}]}}",
        ) from problem
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        child = subprocess.Popen(command, env={**os.environ, **_variables(receiver.port)})
    except OSError as problem:
        return _failed(command[0], problem)
    _pass_on(child)
    code = child.wait()
    receiver.shutdown()
    return code if code >= 0 else 128 - code


def _variables(port: int) -> dict[str, str]:
    """What exporters read; the SDKs of all languages know these."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def _replace(command: list[str]) -> int:
    try:
        os.execvp(command[0], command)
    except OSError as problem:
        return _failed(command[0], problem)


def _failed(name: str, problem: OSError) -> int:
    print(f"remit otlp: cannot run {name}: {problem.strerror}", file=sys.stderr)
    return 127 if isinstance(problem, FileNotFoundError) else 126


def _pass_on(child: Any) -> None:
    """What is sent to us alone is meant for the command; what a terminal sends reaches both, and it decides."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in _FORWARDED:
        signal.signal(number, lambda number, frame: child.send_signal(number))
