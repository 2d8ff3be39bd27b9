"""An MCP server behind remit: sessions with the servers in them, and the conversation that is had with them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from remit.clock.mcp_conversation import Conversation
from remit.clock.mcp_instances import EachCall, Shared
from remit.clock.mcp_messages import MESSAGE_MAX
from remit.clock.mcp_server import Lines, Server, TooLong
from remit.clock.mcp_tools import KnownTools, place_of
from remit.clock.sdk import Session
from remit.errors import RemitError
from remit.session import SessionEnded

_CONVERSATION = ("", "harness")  # by what a session ends when nothing was wrong


class Settings(NamedTuple):
    """What is asked for."""

    command: list[str]
    scope: str | None
    options: dict[str, Any]  # of remit.Session
    known: str  # the directory where tools are remembered
    tool_scopes: dict[str, str]
    each_call: list[str]
    accept_tools: bool


class Proxy:
    """A conversation and its servers. Raises what remit.Session raises on entry; leaving it ends everything inside.

    `ended` is called once nothing more can be said: the server is gone, or its session.
    """

    def __init__(self, settings: Settings, to_client: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._settings = settings
        self._to_client = to_client
        self._ended = ended
        self._directory = os.getcwd()
        self._sessions: dict[str | None, Session] = {}
        self._cleanup = contextlib.ExitStack()
        self.reason = ""  # why the server is gone

    def __enter__(self) -> Proxy:
        settings = self._settings
        with contextlib.ExitStack() as undo:
            main = undo.enter_context(Session(settings.scope, **settings.options))
            self._sessions[None] = main
            for scope in dict.fromkeys(settings.tool_scopes.values()):
                self._sessions[scope] = undo.enter_context(Session(scope, **self._beside(main, scope)))
            self._start(main)
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._cleanup.__exit__(kind, problem, trace)
        for session in self._sessions.values():
            _notice(session)

    def from_client(self, line: bytes) -> None:
        """Raises SessionEnded."""
        self.conversation.from_client(line)

    def close(self) -> None:
        """End the servers as MCP has it, and the calls that are still under way."""
        closing = [threading.Thread(target=instance.close) for instance in {self._main, *self._others.values()}]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self.conversation.over()

    @property
    def status(self) -> int | None:
        """How the server's process ended, as subprocess says it."""
        return self._main.server.status

    @property
    def ended_by(self) -> str:
        """What ended one of its sessions, empty when it was nothing but the end of the conversation; after leaving."""
        found = (result.ended_by for session in self._sessions.values() if (result := session.result) is not None)
        return next((by for by in found if by not in _CONVERSATION), "")

    def _beside(self, main: Session, scope: str) -> dict[str, Any]:
        tools = ",".join(tool for tool, its in self._settings.tool_scopes.items() if its == scope)
        labels = {**self._settings.options.get("labels", {}), "mcp-session": main.id, "mcp-tools": tools}
        evidence = self._settings.options.get("evidence")
        number = len(self._sessions)
        return {**self._settings.options, "labels": labels, "evidence": evidence and f"{evidence}-{number}"}

    def _start(self, main: Session) -> None:
        settings = self._settings
        self._main = Shared(main, self._starter(main), self._heard, self._over)
        shared: dict[str, Shared] = {}
        self._others: dict[str, Shared | EachCall] = {}
        for tool in dict.fromkeys((*settings.tool_scopes, *settings.each_call)):
            scope = settings.tool_scopes.get(tool)
            session = self._sessions[scope]
            start = self._starter(session)
            if tool in settings.each_call:
                self._others[tool] = EachCall(session, start, self._heard, self._over)
            else:
                assert scope is not None
                if scope not in shared:
                    shared[scope] = Shared(session, start, self._heard, self._over)
                self._others[tool] = shared[scope]
        place = place_of(settings.known, settings.command, settings.scope)
        known = KnownTools(place, settings.command, accept=settings.accept_tools)
        self.conversation = Conversation(self._main, self._others, known, self._to_client, warn)
        with contextlib.suppress(SessionEnded):
            self.conversation.start()
        for instance in (self._main, *shared.values()):
            instance.listen()

    def _starter(self, session: Session) -> Callable[..., Server]:
        def start(step: str | None, heard: Callable[[bytes], None], over: Callable[[str], None]) -> Server:
            return Server(session, self._settings.command, directory=self._directory, heard=heard, over=over, step=step)

        return start

    def _heard(self, instance: Any, line: bytes) -> None:
        self.conversation.from_server(instance, line)

    def _over(self, instance: Any, reason: str) -> None:
        self.conversation.gone(instance)
        if instance is self._main:
            self.reason = reason
            self._ended()


def serve_stdio(settings: Settings, ended: threading.Event) -> tuple[int | None, str, str]:
    """Speak MCP on this process's own standard streams until the client, the server or the session ends.

    Returns the server's status, what ended its session, and why the conversation did where that was not the client's
    doing.
    """
    writing = threading.Lock()

    def to_client(line: bytes) -> None:
        with writing:
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[os.write(1, rest) :]
            except OSError:
                ended.set()  # nobody listens any more

    proxy = Proxy(settings, to_client, ended.set)
    with proxy:
        threading.Thread(target=_read_client, args=(proxy, ended), name="remit-mcp-client", daemon=True).start()
        ended.wait()
        reason = proxy.reason
    return proxy.status, proxy.ended_by, reason


def _read_client(proxy: Proxy, ended: threading.Event) -> None:
    try:
        for line in Lines(0):
            proxy.from_client(line)
    except TooLong:
        warn(f"the client sent a line longer than {MESSAGE_MAX} bytes")
    except (SessionEnded, RemitError) as problem:
        warn(str(problem))
    finally:
        ended.set()


def _notice(session: Session) -> None:
    """A line for a session that somebody should look at."""
    if session.result is None:
        return
    count, by = len(session.result.findings), session.result.ended_by
    said = [f"{count} finding{'s' if count > 1 else ''}"] if count else []
    said += [f"ended by {by}"] if by not in _CONVERSATION else []
    if said:
        warn(f"{', '.join(said)}; remit report {session.evidence}")


def warn(words: str) -> None:
    """On stderr, which MCP leaves to logging."""
    with contextlib.suppress(OSError):
        print(f"remit: {words}", file=sys.stderr, flush=True)
