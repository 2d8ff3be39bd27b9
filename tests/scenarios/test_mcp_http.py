"""The official SDK's client over streamable HTTP, with `remit mcp --listen` between it and servers that speak stdio."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_client import SERVER, findings, scope, steps
from stage import REMIT, Stage, is_sound, nobody_left, records

pytest.importorskip("mcp", reason="needs the mcp package: pip install 'remit[mcp]'")


@contextlib.contextmanager
def listening(stage: Stage, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    shutil.copy(SERVER, stage.workspace)
    words = [*REMIT, "mcp", "--scope", str(scope(stage)), "--listen", "127.0.0.1:0", *options, "--"]
    process = subprocess.Popen(
        [*words, sys.executable, "small_mcp_server.py"],
        cwd=stage.workspace,
        env=stage.environment,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    try:
        said = process.stderr.readline().decode()
        assert said.startswith("remit: listening on http://127.0.0.1:"), said
        yield process, said.split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def sessions(stage: Stage) -> list[Path]:
    return sorted(stage.sessions.iterdir()) if stage.sessions.exists() else []


async def converse(url: str, path: str, heard: list[float]) -> list[str]:
    from mcp.client import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import ElicitResult

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    async def sure(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={})

    async with Client(streamable_http_client(url), elicitation_callback=sure) as client:
        await client.list_tools()
        said = []
        for tool, arguments in (
            ("other", {"do": "progress"}),
            ("other", {"do": "ask"}),
            ("read", {"do": "write", "path": path}),
        ):
            answer = await client.call_tool(tool, arguments, progress_callback=progress)
            said.append(answer.content[0].text)  # type: ignore[union-attr]
        return said


def test_clients_at_once_have_sessions_of_their_own(stage: Stage) -> None:
    heard: list[float] = []

    async def both(url: str) -> list[list[str]]:
        return await asyncio.gather(converse(url, "one", heard), converse(url, "two", heard))

    with listening(stage) as (_, url):
        one, two = asyncio.run(both(url))
    assert one[1] == two[1] == "accept"
    assert one[0] == one[2] != two[0] == two[2]  # the pids of their servers
    assert sorted(heard) == [1, 1, 2, 2]
    assert len(sessions(stage)) == 2
    for evidence in sessions(stage):
        assert [tool for mark, _, tool in steps(evidence) if mark == "end"] == ["other", "other", "read"]
        (finding,) = findings(evidence, "say-do-mismatch")
        assert finding["step"] == steps(evidence)[-1][1]
        is_sound(evidence)
        nobody_left(evidence)


def test_what_is_no_greeting_starts_nothing(stage: Stage) -> None:
    with listening(stage) as (_, url):
        port = int(url.split(":")[2].split("/")[0])

        def ask(method: str, path: str, body: bytes = b"", **headers: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            common = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            connection.request(method, path, body, {**common, **{n.replace("_", "-"): v for n, v in headers.items()}})
            status = connection.getresponse().status
            connection.close()
            return status

        hello = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).encode()
        call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "other"}}).encode()
        assert ask("GET", "/") == 404
        assert ask("POST", "/mcp", b"not JSON") == 400
        assert ask("POST", "/mcp", call) == 400
        assert ask("POST", "/mcp", call, Mcp_Session_Id="forged") == 404
        assert ask("POST", "/mcp", hello, Host="evil.example") == 421
        assert ask("POST", "/mcp", hello, Origin="http://evil.example") == 403
        assert ask("POST", "/mcp", b"x" * 100, Content_Length=str(1 << 30)) == 413
    assert sessions(stage) == []


def test_a_server_that_dies_ends_its_session_and_no_other(stage: Stage) -> None:
    from mcp.client import Client
    from mcp.client.streamable_http import streamable_http_client

    async def one_dies(url: str) -> str:
        async with Client(streamable_http_client(url)) as other:
            await other.list_tools()
            with contextlib.suppress(Exception):
                async with Client(streamable_http_client(url)) as client:
                    await client.call_tool("other", {"do": "die"}, read_timeout_seconds=10)
                    pytest.fail("an answer came from a server that is dead")
            return (await other.call_tool("other", {})).content[0].text  # type: ignore[union-attr]

    with listening(stage) as (_, url):
        assert int(asyncio.run(one_dies(url))) > 1
    assert len(sessions(stage)) == 2
    for evidence in sessions(stage):
        assert records(evidence, "closed")
        is_sound(evidence)


@pytest.mark.parametrize("place", ["0.0.0.0:0", "192.0.2.1:80", "127.0.0.1", "localhost:80", "127.0.0.1:x", ":80"])
def test_only_this_machine_may_come(stage: Stage, place: str) -> None:
    done = stage.remit("mcp", "--listen", place, "--", "true")
    assert done.returncode == 2
    assert done.stderr.startswith(f"remit: --listen must be an address of loopback and a port: {place}\n")
    assert os.listdir(stage.workspace) == []
