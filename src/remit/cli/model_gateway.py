"""The model gateway's process, beside the boundary: started with a session whose scope has a model, and gone with it.

The launcher gives it a listening socket of loopback and its channel to the supervisor, and the credential over a pipe:
environments can be read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from remit.cli.own_modules import keep_to_own_modules
from remit.errors import BoundaryError
from remit.kernel import process
from remit.plan import AddressGrant, Environment, Model, Plan

if TYPE_CHECKING:
    import subprocess

_LOOPBACK = "127.0.0.1"
# Of the caller's environment: whom to trust, and nothing that says what to load or what to log in with.
_KEPT = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")
_CLAUSE = "model"
_OOM_SCORE = "500"  # what it holds is what the agent sends: it goes before others when memory runs out
# Both libraries and most agents ask for some key; the gateway puts the real one in its place.
_NO_KEY = "remit-puts-the-key-in"


MISSING = BoundaryError("what the model's gateway is made of is missing: aiohttp", hint="pip install 'remit[gateway]'")


class ModelGateway:
    """A gateway to be: its address is known, and nobody listens to what is sent there yet."""

    def __init__(self, model: Model, environment: Mapping[str, str]) -> None:
        self._model = model
        self._environment = environment
        self._credential = credential_of(model, environment)
        if importlib.util.find_spec("aiohttp") is None:
            raise MISSING
        self._listener = socket.create_server((_LOOPBACK, 0), backlog=128)
        self._port = int(self._listener.getsockname()[1])
        self._ours, self.channel = socket.socketpair()

    def granted(self, plan: Plan) -> Plan:
        """The plan with the way to the gateway in it."""
        grant = AddressGrant(f"{_LOOPBACK}/32", self._port, self._port, _CLAUSE)
        found = variables(self._model, f"http://{_LOOPBACK}:{self._port}", self._credential)
        values = {**plan.environment.set, **found}
        keep = tuple(name for name in plan.environment.keep if name not in values)
        return plan._replace(connect=(*plan.connect, grant), environment=Environment(keep, values))

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process; it is told what to serve, and ends when `channel`, the other end of its own, is gone.

        Raises BoundaryError.
        """
        import subprocess  # only with a model

        numbers = (self._listener.fileno(), self._ours.fileno())
        try:
            host = subprocess.Popen(
                [sys.executable, "-I", "-m", "remit.cli.model_gateway", *map(str, numbers)],
                pass_fds=numbers,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={name: value for name, value in self._environment.items() if name.upper() in _KEPT},
            )
        except OSError as problem:
            raise BoundaryError(f"cannot start the model's gateway: {problem.strerror}") from problem
        assert host.stdin is not None
        model = self._model
        words = {"api": model.api, "upstream": model.upstream, "transcript": model.transcript}
        settings = {**words, "credential": self._credential}
        with host.stdin:
            host.stdin.write(json.dumps(settings).encode())
        # Its ends are its own alone, so that whoever holds the other one sees it end.
        self._listener.close()
        self._ours.close()
        return host


def variables(model: Model, base: str, credential: str | None) -> dict[str, str]:
    """What agents and libraries read their model's address from."""
    if model.api == "anthropic":
        found, key = {"ANTHROPIC_BASE_URL": base}, "ANTHROPIC_API_KEY"
    else:
        found, key = {"OPENAI_BASE_URL": f"{base}/v1", "OPENAI_API_BASE": f"{base}/v1"}, "OPENAI_API_KEY"
    return found if credential is None else {**found, key: _NO_KEY}


def credential_of(model: Model, environment: Mapping[str, str]) -> str | None:
    """What the gateway puts in; None when the caller has a login of its own. Raises BoundaryError."""
    if model.credential == "agent":
        return None
    name = model.credential.removeprefix("env:")
    if not environment.get(name):
        raise BoundaryError(f"the model's credential is not set: {name}", hint=f"export {name}=...")
    return environment[name]


def main() -> None:
    """The process itself."""
    keep_to_own_modules()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write(_OOM_SCORE)
    process.set_dumpable(False)
    process.set_name("remit-gateway")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # anybody on this machine may open a connection and wait
    listener, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    settings = json.load(sys.stdin)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    import asyncio

    from remit.cli.text_reader import COMMAND
    from remit.clock.gateway import Settings, serve

    asyncio.run(serve(listener, channel, Settings(**settings, reader=COMMAND)))


if __name__ == "__main__":
    main()
