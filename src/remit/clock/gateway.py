"""The model gateway: the agent's way to its model, and the clock that says which turn of it is under way.

Bytes pass through untouched, and those of a stream at once. A step begins before the bytes that complete its tool call
are passed on, so that nothing the agent does because of them can come earlier, and ends when the request with its
result comes in. The credential is put in here, outside the boundary. Who calls is asked of the supervisor, which made
the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from remit.clock.codings import Decoding, decoded
from remit.clock.model_api import LONGEST_BODY, PATHS, AnswerReader, ToolCall, parse, results_of
from remit.clock.supervisor_link import SupervisorGone, SupervisorLink
from remit.clock.text_reader import TextReader
from remit.clock.told import offered, told_by
from remit.clock.transcript import Account, Transcript
from remit.clock.turns import Turns, bounded
from remit.plain import Data
from remit.protocol import Message

# RFC 9110, section 7.6.1, and what the two connections settle for themselves.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "host"}
    | {"proxy-authenticate", "proxy-authorization", "expect"}
)
# With the credential put in, what could steer the upstream, or be a login of the agent's, stays here.
_HARMLESS = (
    *("accept", "content-type", "content-encoding", "user-agent", "anthropic-version", "anthropic-beta", "openai-beta"),
    *("anthropic-dangerous-direct-browser-access", "x-stainless-", "x-app", "x-claude-code-", "x-client-request-id"),
    *("idempotency-key", "traceparent", "tracestate"),
)
_QUERY = frozenset({"", "beta=true", "beta=false"})
_READABLE = ("gzip", "deflate", "identity")  # an answer that cannot be read would hide its tool calls
_CONNECT_SECONDS = 30.0
_SILENCE_SECONDS = 900.0  # models think for long
_CONNECTIONS = 1024
_SMALL = 1 << 16  # bytes that are read sooner than a thread begins
_BODIES = 8  # requests whose bodies are taken in at once

T = TypeVar("T")


class Settings(Data):
    """What a gateway serves. `credential` is put into each request; None passes the agent's own login through.
    `outside`: it serves a harness outside the session, and nobody inside."""

    api: str  # anthropic | openai
    upstream: str
    credential: str | None = None
    outside: bool = False
    transcript: str = "full"  # full | hashes | none: what is recorded of what is said
    reader: tuple[str, ...] = ()  # the command of the process that reads what calls say


async def serve(listener: socket.socket, channel: socket.socket, settings: Settings) -> None:
    """Serve one session's agent until its supervisor is gone."""
    link = await SupervisorLink.open(channel)
    timeout = ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    upstream = ClientSession(
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        connector=TCPConnector(limit=_CONNECTIONS),
        timeout=timeout,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )
    reader = TextReader(settings.reader)
    with contextlib.suppress(OSError):  # it is tried again with the first call
        await reader.start()
    gateway = Gateway(link, upstream, reader, settings)
    application = web.Application(client_max_size=LONGEST_BODY)
    application.router.add_route("*", "/{path:.*}", gateway.handle)
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=0.0, auto_decompress=False
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        await link.serve()
    finally:
        await runner.cleanup()
        await upstream.close()
        await reader.close()


class Gateway:
    """Answers the agent's requests with the model's answers."""

    def __init__(self, link: SupervisorLink, upstream: ClientSession, reader: TextReader, settings: Settings) -> None:
        self._link = link
        self._upstream = upstream
        self._reader = reader
        self._settings = settings
        self._turns = Turns()
        self._transcript = Transcript(settings.transcript)
        self._bodies = asyncio.Semaphore(_BODIES)
        self._callers: WeakKeyDictionary[asyncio.Transport, str] = WeakKeyDictionary()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request; what is wrong with it is an error in the words of the API, and an event."""
        try:
            return await self._pass_on(request)
        except SupervisorGone:
            return self._refusal(503, "the session has ended")
        except web.HTTPRequestEntityTooLarge:
            return self._refusal(413, f"a request may have {LONGEST_BODY} bytes")

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        caller = await self._caller(request)
        known = PATHS[self._settings.api]
        path, _, query = request.raw_path.partition("?")
        asked = (request.method, path)
        strange = self._settings.credential is not None and query not in _QUERY
        if caller is None or asked not in known or strange:
            stranger = "is inside the session" if self._settings.outside else "is no process of the session"
            reason = f"who calls {stranger}" if caller is None else "no call of the scope's model API"
            await self._link.ask({"do": "refused", "caller": caller, "asked": list(asked), "reason": reason})
            return self._refusal(403 if caller is None else 404, f"{reason}: {' '.join(asked)}")
        language = known[asked]
        async with self._bodies:
            body = await request.read()
        telling, tools = None, None
        if language is not None:
            coding = request.headers.get("Content-Encoding", "")
            content, results = await _unless_small(body, _content, language, body, coding)
            if content is None:
                reason = "a request could not be read: results in it, if any, end no step"
                await self._link.ask({"do": "unread", "caller": caller, "reason": reason})
            steps = self._turns.under_way(caller, results)
            for mark in self._turns.brought(caller, results):
                self._link.tell(mark)
            if content is not None and self._transcript.wanted:
                tools = offered(content)
                telling = asyncio.create_task(self._tell(caller, language, content, steps, body))
        try:
            async with self._upstream.request(
                request.method,
                URL(self._settings.upstream + request.raw_path, encoded=True),
                data=body if request.method == "POST" else None,
                headers=self._headers(request.headers),
                allow_redirects=False,
            ) as answer:
                if telling is not None:
                    await telling  # what is told comes before what is said to it
                return await self._answer(request, answer, caller, language, tools)
        except (ClientError, TimeoutError, OSError, RuntimeError, ValueError) as problem:
            return self._refusal(502, f"no answer from {self._settings.upstream}: {problem or type(problem).__name__}")

    async def _answer(
        self, request: web.Request, answer: ClientResponse, caller: str, language: str | None, tools: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_passed(answer.headers))
        if language is None:
            async for piece in answer.content.iter_any():
                await self._pass(request, response, piece)
            await response.write_eof()
            return response
        reader = Decoding(AnswerReader(language), answer.headers.get("Content-Encoding", ""))
        account = Account(self._transcript, caller, language, reader.said, status=answer.status, tools=tools)
        held: list[bytes] = []  # a body that is read as a whole: any part of it may be all that a reader needs
        told = False
        try:
            async for piece in answer.content.iter_any():
                account.passed(piece)
                calls = await reader.feed(piece)
                held.append(piece)
                told = await self._say_unread(reader, caller, told)
                if not reader.whole:
                    await self._deliver(request, response, account, calls, b"".join(held))
                    held.clear()
            calls = reader.finish()
            account.over = True
            await self._say_unread(reader, caller, told)
            await self._deliver(request, response, account, calls, b"".join(held))
            await response.write_eof()
        except (ClientError, TimeoutError, OSError, RuntimeError):
            account.over = True
            if account.due:
                self._link.tell(account.message())
            if not response.prepared:
                raise
            # As the model's end would look without us: an answer that breaks off.
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _say_unread(self, reader: Decoding, caller: str, told: bool) -> bool:
        """Have it recorded, once and before it is passed on, that an answer could not be read; whether it is."""
        if reader.lacks and not told:
            reason = "an answer could not be read: its tool calls, if any, begin no step"
            await self._link.ask({"do": "unread", "caller": caller, "reason": reason})
        return told or reader.lacks

    async def _deliver(
        self, request: web.Request, response: web.StreamResponse, account: Account, calls: list[ToolCall], piece: bytes
    ) -> None:
        """Pass bytes on once the steps of the calls that they complete have begun, and the last ones once it is on
        record what was said: with them the agent may end, and the session with it."""
        asked = [await self._reader.declared(bounded(call.arguments)) for call in calls]
        marks = self._turns.delivered(account.caller, calls, asked)
        await self._mark(marks)
        account.began(marks)
        if account.due:
            await self._link.ask(account.message())
        try:
            await self._pass(request, response, piece)
        except (ClientError, OSError):
            await self._mark(self._turns.undelivered(account.caller, calls))
            raise

    async def _pass(self, request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(piece)

    async def _tell(
        self, caller: str, language: str, content: dict[str, Any], steps: dict[str, str], body: bytes
    ) -> None:
        """Have it recorded what a request tells the model."""
        await asyncio.sleep(0)  # the request goes out first: it was begun in this turn of the loop
        message = await _unless_small(body, self._told, caller, language, content, steps, body)
        with contextlib.suppress(SupervisorGone):
            self._link.tell(message)

    def _told(self, caller: str, language: str, content: dict[str, Any], steps: dict[str, str], body: bytes) -> Message:
        return self._transcript.request(caller, language, told_by(language, content, steps), steps, body)

    async def _caller(self, request: web.Request) -> str | None:
        """Who made the connection: asked once, for that never changes."""
        transport = request.transport
        if transport is None:
            return None
        if transport not in self._callers:
            found: str | None = await self._link.ask({"do": "whose", **_ends(transport)})
            if found is None:
                return None
            self._callers[transport] = found
        return self._callers[transport]

    async def _mark(self, marks: list[dict[str, Any]]) -> None:
        """Raises RuntimeError when a step cannot begin: its call must not be passed on then."""
        for mark in marks:
            try:
                await self._link.ask(mark)
            except RuntimeError:
                if mark["mark"] == "begin":
                    raise

    def _headers(self, given: Mapping[str, str]) -> CIMultiDict[str]:
        own = self._settings.credential is not None
        headers = CIMultiDict(
            (name, value)
            for name, value in given.items()
            if name.lower() not in _HOP_BY_HOP and (not own or name.lower().startswith(_HARMLESS))
        )
        if "Accept-Encoding" in headers:
            asked = [word.partition(";")[0].strip().lower() for word in headers["Accept-Encoding"].split(",")]
            headers["Accept-Encoding"] = ", ".join(word for word in asked if word in _READABLE) or "identity"
        if self._settings.credential is not None:
            if self._settings.api == "anthropic":
                headers["x-api-key"] = self._settings.credential
            else:
                headers["Authorization"] = f"Bearer {self._settings.credential}"
        return headers

    def _refusal(self, status: int, message: str) -> web.Response:
        problem: dict[str, Any] = {"type": "remit_gateway", "message": f"remit: {message}"}
        content = {"error": problem} if self._settings.api == "openai" else {"type": "error", "error": problem}
        return web.Response(status=status, text=json.dumps(content), content_type="application/json")


def _ends(transport: asyncio.Transport) -> dict[str, Any]:
    """What the kernel says of a connection: its two addresses, or who connected to a unix socket (SO_PEERCRED)."""
    end = transport.get_extra_info("socket")
    if end.family == socket.AF_UNIX:
        pid, user, _ = struct.unpack("=iII", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return {"pid": pid, "user": user}
    return {"peer": list(end.getpeername()[:2]), "here": list(end.getsockname()[:2])}


async def _unless_small(body: bytes, work: Callable[..., T], *arguments: Any) -> T:
    """The work, in a thread when there is much of it, so that other conversations go on."""
    return await asyncio.to_thread(work, *arguments) if len(body) > _SMALL else work(*arguments)


def _content(language: str, body: bytes, coding: str) -> tuple[dict[str, Any] | None, set[str]]:
    """What a request says, or None when it cannot be read; and the calls that it brings results of."""
    try:
        content = parse(b"".join(decoded(coding, body)).decode("utf-8", "replace"))
    except ValueError:
        return None, set()
    return (content, results_of(language, content)) if isinstance(content, dict) else (None, set())


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)
