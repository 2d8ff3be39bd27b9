"""Streamable HTTP to the client's side, by the official SDK: each session of a client is a conversation of its own.

The servers speak stdio as ever. Here messages are decoded and encoded again by the SDK, as HTTP needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import CancelledError
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import uvicorn
from anyio.abc import TaskGroup, TaskStatus
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, StreamableHTTPServerTransport
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, jsonrpc_message_adapter
from pydantic import ValidationError
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from remit.clock.mcp_messages import MESSAGE_MAX
from remit.clock.mcp_proxy import Proxy, Settings, warn
from remit.errors import RemitError

PATH = "/mcp"
MOST_SESSIONS = 16  # each has a boundary and a server
_IDLE_SECONDS = 30 * 60.0
_GRACE_SECONDS = 2


async def serve_http(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal asks for the end."""
    host, port = listener.getsockname()[:2]
    here = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    names = [here, f"localhost:{port}"]
    # A page in a browser on this machine must not reach the tools by a name that it made point here.
    security = TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])
    async with anyio.create_task_group() as tasks:
        app = RequestBodyLimitMiddleware(_Listener(settings, security, tasks), MESSAGE_MAX)
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=_GRACE_SECONDS)
        warn(f"listening on http://{here}{PATH}")
        await uvicorn.Server(config).serve(sockets=[listener])
        tasks.cancel_scope.cancel()


class _Listener:
    """Gives each request to its session."""

    def __init__(self, settings: Settings, security: TransportSecuritySettings, tasks: TaskGroup) -> None:
        self._settings = settings
        self._security = security
        self._tasks = tasks
        self._sessions: dict[str, _HttpSession] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await PlainTextResponse(f"MCP is at {PATH}\n", 404)(scope, receive, send)
            return
        wanted = MCP_SESSION_ID_HEADER.encode("ascii")
        named = next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)
        session = self._sessions.get(named or "")
        if session is not None:
            await session.transport.handle_request(scope, receive, send)
            if session.transport.is_terminated:
                session.end()
        elif named is not None:
            await PlainTextResponse("no such session\n", 404)(scope, receive, send)
        elif len(self._sessions) >= MOST_SESSIONS:
            await PlainTextResponse("too many sessions\n", 503)(scope, receive, send)
        else:
            await self._open(scope, receive, send)

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _HttpSession(self._settings, self._security)
        self._sessions[session.id] = session
        session.forget = lambda: self._sessions.pop(session.id, None)
        await self._tasks.start(session.run)
        try:
            await session.transport.handle_request(scope, receive, send)
        finally:
            if not session.begun:  # what asked was no greeting
                session.end()


class _HttpSession:
    """One client's session. Its servers start with its first message, which can only be `initialize`."""

    def __init__(self, settings: Settings, security: TransportSecuritySettings) -> None:
        self.id = uuid4().hex
        self.begun = False
        self.forget: Any = None
        self._settings = settings
        self.transport = StreamableHTTPServerTransport(self.id, security_settings=security, idle_timeout=_IDLE_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._over = anyio.Event()
        self._under_way: dict[Any, Any] = {}  # requests of the client, with the tokens of their progress
        self._write: Any = None

    def end(self) -> None:
        self._over.set()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        try:
            async with self.transport.connect() as (read, self._write), anyio.create_task_group() as tasks:
                task_status.started()
                tasks.start_soon(self._converse, read)
                try:
                    with self.transport.idle_scope or anyio.CancelScope():
                        await self._over.wait()
                finally:
                    with anyio.CancelScope(shield=True):
                        await self.transport.terminate()
                    tasks.cancel_scope.cancel()
        except Exception as problem:
            # A fault in one session must not end the others.
            warn(f"a session failed: {problem!r}")
        finally:
            self.forget()

    async def _converse(self, read: Any) -> None:
        try:
            first = await read.receive()
            self.begun = True
            proxy = Proxy(self._settings, self._to_client, self._ended)
            await anyio.to_thread.run_sync(proxy.__enter__)
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return  # it was terminated
        except RemitError as problem:
            warn(str(problem))
            self.end()
            return
        try:
            await self._pass_on(proxy, first)
            async for message in read:
                await self._pass_on(proxy, message)
        except anyio.ClosedResourceError:
            pass  # it was terminated
        except RemitError as problem:
            warn(str(problem))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(proxy.__exit__, None, None, None)
            self.end()

    async def _pass_on(self, proxy: Proxy, received: SessionMessage | Exception) -> None:
        if isinstance(received, Exception):
            return  # the client has been told
        message = received.message
        if isinstance(message, JSONRPCRequest):
            meta = (message.params or {}).get("_meta") or {}
            self._under_way[message.id] = meta.get("progressToken") if isinstance(meta, dict) else None
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._under_way.pop((message.params or {}).get("requestId"), None)
        line = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        # May wait for a server that reads nothing.
        await anyio.to_thread.run_sync(proxy.from_client, line, abandon_on_cancel=True)

    def _to_client(self, line: bytes) -> None:
        """From a server's thread, which waits until the client has it."""
        with contextlib.suppress(RuntimeError, CancelledError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            asyncio.run_coroutine_threadsafe(self._deliver(line), self._loop).result()

    def _ended(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.end)

    async def _deliver(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = jsonrpc_message_adapter.validate_json(line)
        except ValidationError:
            warn("a line of the server is no MCP message, and HTTP cannot carry it")
            return
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._under_way.pop(message.id, None)
            await self._write.send(SessionMessage(message))
            return
        related = ServerMessageMetadata(related_request_id=self._related(message))
        await self._write.send(SessionMessage(message, related))

    def _related(self, message: JSONRPCRequest | JSONRPCNotification) -> Any:
        """The request whose stream carries it: the one whose progress it is, else the latest; without one, none."""
        token = (message.params or {}).get("progressToken")
        for id, its in self._under_way.items():
            if token is not None and its == token:
                return id
        return next(reversed(self._under_way), None)


def run_http(settings: Settings, listener: socket.socket) -> None:
    """Serve in this thread, the main one."""
    assert threading.current_thread() is threading.main_thread()
    anyio.run(serve_http, settings, listener)
