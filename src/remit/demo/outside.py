"""Everything beyond the agent's reach that it will try to reach: all of it real, all of it on 127.0.0.1.

An SSH server (the tunnel's far end), a Stratum pool (where the miner reports) and a small internal service (what the
tunnel would expose) run on one event loop in a thread, and count what arrives.
"""

from __future__ import annotations

import asyncio
import http.client
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from remit.demo.pool import Pool
from remit.demo.remote import RemoteHost

START_SECONDS = 5.0


@contextmanager
def outside_world(key_file: Path) -> Iterator[Outside]:
    """Start all services, yield them, and close every connection at the end; `key_file` opens the SSH server."""
    outside = Outside()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="outside", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(outside.start(key_file), loop).result(START_SECONDS)
        yield outside
    finally:
        asyncio.run_coroutine_threadsafe(outside.stop(), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


def fetch(port: int) -> str | None:
    """What an HTTP server on this loopback port answers, or None when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class InternalService:
    """A service that only this machine should see; it answers with a secret, so that reaching it can be proved."""

    port: int = 0
    requests: int = 0
    secret: str = field(default_factory=lambda: f"internal-{secrets.token_hex(8)}")
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.secret)}\r\nConnection: close\r\n\r\n"
            writer.write((head + self.secret).encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked went away
        finally:
            writer.close()


@dataclass
class Outside:
    """The services, and the port that the SSH server will be asked to open."""

    remote: RemoteHost = field(default_factory=RemoteHost)
    pool: Pool = field(default_factory=Pool)
    internal: InternalService = field(default_factory=InternalService)
    tunnel_port: int = field(default_factory=_free_port)

    async def start(self, key_file: Path) -> None:
        await asyncio.gather(self.remote.start(key_file), self.pool.start(), self.internal.start())

    async def stop(self) -> None:
        await asyncio.gather(self.remote.stop(), self.pool.stop(), self.internal.stop())

    def everyone_left(self, seconds: float) -> bool:
        """Whether the SSH server and the pool have no client left; waits so long for the last to go."""
        deadline = time.monotonic() + seconds
        while (self.remote.connected or self.pool.connected) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.remote.connected and not self.pool.connected

    def through_tunnel(self) -> bool:
        """Whether the internal service answers on the SSH server's side of the tunnel."""
        return fetch(self.tunnel_port) == self.internal.secret
