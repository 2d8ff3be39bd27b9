"""Put a model gateway before a harness that stands outside: its model's tool calls are steps of a running session.

examples:
  remit gateway --api anthropic --upstream https://api.example.com --credential env:MODEL_API_KEY
  remit gateway --api openai --upstream http://127.0.0.1:8000 --session 20260101T120000-1a2b3c4d --listen 127.0.0.1:4000

It prints the variables that a harness is to be started with, and serves until Ctrl-C or until the session ends. The
harness runs each tool call as `remit exec --step ID -- COMMAND`, or with remit.Session, by the call's id. Only this
user's processes from outside the session are served. An agent inside has its gateway by `model:` in the scope.

exit status: 0 when the session ended or it was told to stop; 2 when no such session runs or an option is wrong; 123
when the gateway's package or the credential is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

from remit.cli.client import Client
from remit.cli.model_gateway import MISSING, credential_of, variables
from remit.cli.text_reader import COMMAND
from remit.errors import ScopeError, UsageError
from remit.evidence.places import name_of
from remit.kernel import process
from remit.plan import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--api", choices=("anthropic", "openai"), required=True, help="what the harness speaks")
    parser.add_argument(
        "--upstream", metavar="URL", required=True, help="where the model is: https://HOST, without /v1"
    )
    parser.add_argument(
        "--credential",
        metavar="env:NAME",
        default="agent",
        help="a variable that the gateway puts in; or agent, the harness's own login (default)",
    )
    parser.add_argument(
        "--transcript",
        choices=("full", "hashes", "none"),
        default="full",
        help="what the evidence keeps of what the model says and is told (default: full)",
    )
    parser.add_argument("--session", metavar="ID", help="which session (default: the only one that is running)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="an address of loopback (default: a free port)"
    )
    place.add_argument("--socket", metavar="PATH", help="a unix socket to listen on instead")
    parser.add_argument("--json", action="store_true", help="print where it listens as JSON")


def run(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("aiohttp") is None:
        raise MISSING
    model = _model(options)
    credential = credential_of(model, os.environ)
    client = Client(options.session)
    process.set_dumpable(False)  # it holds the credential
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listener(options))
        if options.socket:
            stack.callback(_unlink, options.socket)
        client.ask({"do": "gateway"})
        _print(options, client, listener, variables(model, _base(options, listener), credential))
        from remit.clock.gateway import Settings, serve

        settings = Settings(model.api, model.upstream, credential, True, model.transcript, COMMAND)
        _serve(serve(listener, client.hand_over(), settings))
    return 0


def _serve(serving: Coroutine[Any, Any, None]) -> None:
    import asyncio

    async def until_told() -> None:
        task = asyncio.ensure_future(serving)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_told())


def _model(options: argparse.Namespace) -> Model:
    """As a scope's. Raises UsageError."""
    from remit.scope.parse import parse_scope

    given = {name: getattr(options, name) for name in ("api", "upstream", "credential", "transcript")}
    try:
        checked = parse_scope(json.dumps({"remit": 1, "task": "gateway", "model": given}).encode(), None).scope.model
    except ScopeError as problem:
        raise UsageError(problem.message.replace("model.", "--", 1), hint=problem.hint) from None
    assert checked is not None
    return Model(checked.api, checked.upstream, checked.credential, checked.transcript)


def _listener(options: argparse.Namespace) -> socket.socket:
    """Raises UsageError."""
    if options.socket:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # nobody else's
        try:
            end.bind(options.socket)
            end.listen(128)
        except OSError as problem:
            end.close()
            raise UsageError(
                f"cannot listen on {options.socket}: {problem.strerror}", hint="name a new file"
            ) from problem
        finally:
            os.umask(mask)
        return end
    host, _, port = options.listen.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdecimal() or int(port) > 65535:
        raise UsageError(
            f"not an address of loopback: {options.listen}",
            hint="--listen 127.0.0.1:4000: who reaches it has the model",
        )
    try:
        return socket.create_server(("127.0.0.1", int(port)), backlog=128)
    except OSError as problem:
        raise UsageError(
            f"cannot listen on {options.listen}: {problem.strerror}", hint="--listen 127.0.0.1:0"
        ) from problem


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _base(options: argparse.Namespace, listener: socket.socket) -> str:
    if options.socket:
        return f"http+unix://{os.path.abspath(options.socket)}"
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _print(options: argparse.Namespace, client: Client, listener: socket.socket, found: dict[str, str]) -> None:
    name = name_of(client.evidence)
    if options.json:
        said = {"schema_version": 1, "session": name, "base_url": _base(options, listener), "variables": found}
        print(json.dumps(said), flush=True)
        return
    import shlex

    for variable, value in found.items():
        print(f"export {variable}={shlex.quote(value)}")
    sys.stdout.flush()
    print(f"remit: the gateway serves session {name} until Ctrl-C", file=sys.stderr, flush=True)
