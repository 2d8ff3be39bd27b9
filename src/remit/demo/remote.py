"""The far end of the tunnel: a real SSH server on loopback that opens the port a client asks it to forward back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

USER = "agent"


@dataclass
class RemoteHost:
    """An SSH server that accepts one throw-away key; it counts connections, logins and forwarded ports."""

    port: int = 0
    connections: int = 0
    logins: int = 0
    forwarded: list[int] = field(default_factory=list)
    _server: asyncssh.SSHAcceptor | None = None
    _clients: set[asyncssh.SSHServerConnection] = field(default_factory=set)

    @property
    def connected(self) -> int:
        """Clients whose connection is open now."""
        return len(self._clients)

    async def start(self, key_file: Path) -> None:
        """Write a fresh private key to `key_file` (mode 600, or OpenSSH refuses it) and serve whoever holds it."""
        key = asyncssh.generate_private_key("ssh-ed25519", comment="throw-away key of remit demo rome")
        key_file.touch(mode=0o600)
        key.write_private_key(str(key_file))
        authorized = asyncssh.import_authorized_keys(key.export_public_key().decode())
        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(self),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=authorized,
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
        )
        self.port = self._server.get_port()

    async def stop(self) -> None:
        """Close the server and every client's connection: an `ssh -f` in the background ends by itself."""
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.abort()
        await asyncio.sleep(0)


class _Login(asyncssh.SSHServer):
    """What one client may do: log in with the key, and ask for ports on loopback to be forwarded back to it."""

    def __init__(self, host: RemoteHost) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections += 1
        self._host._clients.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection:
            self._host._clients.discard(self._connection)

    def auth_completed(self) -> None:
        self._host.logins += 1

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        allowed = listen_host in ("127.0.0.1", "localhost")
        if allowed:
            self._host.forwarded.append(listen_port)
        return allowed
