"""An MCP client that speaks line by line, a server to speak to, and what the evidence says of both."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stage import REMIT, Record, Stage, charged, records

SERVER = Path(__file__).with_name("small_mcp_server.py")
HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "t", "version": "1"},
}


class Client:
    """Speaks MCP line by line, and may say what no library would."""

    def __init__(self, command: Sequence[str], stage: Stage) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=stage.workspace,
            env=stage.environment,
        )
        self.heard: list[bytes] = []

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def say(self, **message: Any) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def hear(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            self.heard.append(line)
        return line

    def answer(self, id: Any) -> Any:
        """The message with this id; the rest is only heard."""
        while line := self.hear():
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if message.get("id") == id and "method" not in message:
                    return message
        raise AssertionError(f"no answer to {id}: {self.heard}")

    def greet(self) -> None:
        self.say(id=0, method="initialize", params=HELLO)
        self.answer(0)
        self.say(method="notifications/initialized")

    def call(self, id: Any, tool: str, **arguments: Any) -> str:
        self.say(id=id, method="tools/call", params={"name": tool, "arguments": arguments})
        return str(self.answer(id)["result"]["content"][0]["text"])

    def list(self, id: Any) -> None:
        self.say(id=id, method="tools/list")
        self.answer(id)

    def leave(self) -> int:
        """Hang up, as MCP ends a conversation, and wait."""
        _, errors = self.process.communicate(timeout=20)
        self.errors = errors.decode()
        return self.process.returncode


@contextlib.contextmanager
def talking(
    stage: Stage, *options: str, server: Sequence[str] = (), bare: bool = False, **more: Any
) -> Iterator[Client]:
    command = list(server) or [sys.executable, "small_mcp_server.py"]
    shutil.copy(SERVER, stage.workspace)
    client = Client(
        command if bare else [*REMIT, "mcp", "--scope", str(scope(stage, **more)), *options, "--", *command], stage
    )
    try:
        yield client
    finally:
        if client.process.poll() is None:
            client.process.kill()
        client.process.communicate()


def scope(stage: Stage, name: str = "scope", **more: Any) -> Path:
    files = {"write": ["$WORKSPACE", "$TMPDIR"], "read": [str(Path(sys.prefix))]}
    place = stage.root / f"{name}.yaml"
    place.write_text(json.dumps({"remit": 1, "task": "mcp", "use": ["base", "python"], "files": files, **more}))
    return place


def steps(evidence: Path) -> list[tuple[str, str, str]]:
    return [(record["mark"], record["step"], record["tool"]) for record in records(evidence, "step")]


def acts(evidence: Path, path: Path) -> list[tuple[str | None, str]]:
    """To which step, and how surely, the opens of a file are charged."""
    found = [(act.step, act.attribution) for record, act in charged(evidence) if record.get("path") == str(path)]
    assert found
    return found


def findings(evidence: Path, behaviour: str) -> list[Record]:
    return [record["finding"] for record in records(evidence, "finding") if record["finding"]["behaviour"] == behaviour]
