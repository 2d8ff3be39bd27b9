"""One client's conversation with an MCP server, passed on line by line; each tools/call is a step.

A step begins before the server has its call, and ends before the client has its answer: what the client does because of
an answer comes after the step.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from remit.clock.mcp_asked import Asked
from remit.clock.mcp_calls import Calls
from remit.clock.mcp_messages import (
    Key,
    Unreadable,
    is_answer,
    key_of,
    parameters,
    parse_error,
    read_line,
    recordable,
    refusal,
)
from remit.clock.mcp_tools import MOST_TOOLS, KnownTools, Tool, tools_of
from remit.errors import RemitError
from remit.session import SessionEnded

_TO_ALL = ("initialize", "logging/setLevel")  # requests that every server must have had
_INVALID, _SERVER_GONE = -32600, -32000


class Instance(Protocol):
    """A server that the conversation is with. `begin` begins a step and says who is to have its call."""

    def write(self, line: bytes) -> None: ...
    def begin(self, step: str, tool: str, arguments: Any) -> Instance: ...
    def end(self, step: str) -> None: ...
    def record(self, mark: str, **members: Any) -> None: ...


class Conversation:
    """`main` answers everything, but calls of the tools in `others`, which have servers of their own.

    `from_client` and `from_server` may be called by different threads.
    """

    def __init__(
        self,
        main: Instance,
        others: Mapping[str, Instance],
        known: KnownTools,
        to_client: Callable[[bytes], None],
        warn: Callable[[str], None],
    ) -> None:
        self._main = main
        self._others = others
        self._known = known
        self._to_client = to_client
        self._warn = warn
        self._lock = threading.RLock()
        self._calls = Calls()
        self._given: dict[str, tuple[Instance, Any]] = {}  # step -> who has its call, and the call's id
        self._gone: list[Instance] = []
        self._listings: set[Key] = set()
        self._listed: dict[str, dict[str, str]] = {}
        self._asked: Asked[Instance] = Asked()
        self._unread = 0
        self._warned: list[str] = []  # names of tools that the server does not have

    def start(self) -> None:
        """Say what is remembered of the server, before it says anything itself."""
        for tool in self._known.remembered():
            self._tell(tool, "remembered")

    def from_client(self, line: bytes) -> None:
        """Pass a line of the client on. One that cannot be read is answered and goes no further: what is a call to the
        server must not be none to us. Raises SessionEnded."""
        try:
            messages = read_line(line)
        except Unreadable as problem:
            self._note_unread("client", str(problem))
            self._to_client(parse_error(str(problem)))
            return
        if len(messages) > 1 and self._others:
            self._to_client(refusal(None, _INVALID, "remit passes no batches on where tools have scopes of their own"))
            return
        message = messages[0] if len(messages) == 1 else {}
        if message.get("method") == "tools/call" and self._others.get(_tool(message)) in self._gone:
            self._to_client(refusal(message.get("id"), _SERVER_GONE, "the server of this tool has ended"))
            return
        with self._lock:
            receivers = [self._receiver(message) for message in messages] or [self._main]
        if is_answer(message) and (asked := self._asked.answered(message)):
            asked[0].write(asked[1])
            return
        receivers[0].write(line)
        if self._goes_to_all(message):
            for other in self._others.values():
                other.write(line)
        if message.get("method") == "notifications/cancelled":
            with self._lock:
                self._end(self._calls.cancelled(key_of(parameters(message), "requestId")))

    def from_server(self, instance: Instance, line: bytes) -> None:
        """Pass a line of a server on, whatever it is."""
        try:
            messages = read_line(line)
        except Unreadable as problem:
            self._note_unread("server", str(problem))
            messages = []
        for message in messages:
            if is_answer(message):
                with self._lock:
                    if not self._is_awaited(instance, message):
                        return
                    self._answer(message)
        passed: bytes | None = line
        if instance is not self._main and len(messages) == 1 and "method" in messages[0]:
            with self._lock:
                passed = self._asked.to_client(instance, messages[0])
        if passed is not None:
            self._to_client(passed)

    def gone(self, instance: Instance) -> None:
        """A server has ended, and with it its calls. Without the main one the client sees the end of the whole."""
        with self._lock:
            steps = {step: id for step, (given, id) in self._given.items() if given is instance}
            if not steps and instance is not self._main and instance not in self._others.values():
                return
            with contextlib.suppress(SessionEnded):
                instance.record("gone", reason="the server ended")
            self._gone.append(instance)
            self._calls.forget(steps)
            self._end(list(steps))
        for id in steps.values() if instance is not self._main else ():
            self._to_client(refusal(id, _SERVER_GONE, "the server of this tool ended before it answered"))

    def over(self) -> None:
        """Nobody is left to answer."""
        with self._lock:
            self._end(self._calls.give_up())

    def _receiver(self, message: dict[str, Any]) -> Instance:
        """Who is to have it; a call's step has begun by then."""
        method = message.get("method")
        if method == "tools/list" and (key := key_of(message)):
            self._listings.add(key)
        if method != "tools/call":
            return self._main
        name = _tool(message)
        step = self._calls.begin(key_of(message))
        arguments = recordable(parameters(message).get("arguments"))
        instance = self._others.get(name, self._main).begin(step, name, arguments)
        self._given[step] = instance, message.get("id")
        return instance

    def _goes_to_all(self, message: dict[str, Any]) -> bool:
        method = message.get("method")
        return isinstance(method, str) and (method in _TO_ALL or method.startswith("notifications/"))

    def _is_awaited(self, instance: Instance, message: dict[str, Any]) -> bool:
        """Only who was given a call answers it. What all servers are asked the main one answers."""
        steps = self._calls.under_way(key_of(message))
        if not steps:
            return instance is self._main
        if any(self._given[step][0] is instance for step in steps):
            return True
        self._note_unread("server", "an answer to a call that another server was given")
        return False

    def _answer(self, message: dict[str, Any]) -> None:
        key = key_of(message)
        if key in self._listings:
            self._listings.discard(key)
            self._listing(message.get("result"))
        self._end(self._calls.answered(key))

    def _end(self, steps: list[str]) -> None:
        for step in steps:
            given = self._given.pop(step, None)
            if given is not None:
                with contextlib.suppress(SessionEnded, RemitError):  # closed by the session's end
                    given[0].end(step)

    def _listing(self, result: Any) -> None:
        try:
            tools = list(tools_of(result))
        except (RecursionError, UnicodeEncodeError, ValueError) as problem:
            self._note_unread("server", f"its tools: {type(problem).__name__}")
            return
        changed: list[Tool] = []
        for tool in tools:
            if self._listed.get(tool.name) == tool.digests:
                continue
            if len(self._listed) >= MOST_TOOLS and tool.name not in self._listed:
                self._note_unread("server", f"more than {MOST_TOOLS} tools")
                break
            self._listed[tool.name] = tool.digests
            changed.append(tool)
            self._tell(tool, "listed")
        missing = [name for name in self._others if name not in self._listed and name not in self._warned]
        if missing and not (isinstance(result, dict) and result.get("nextCursor")):
            self._warned += missing
            self._warn(f"the server has no tool of this name, which was given a scope or servers: {' '.join(missing)}")
        if changed and self._known.first_time:
            self._warn(f"seen for the first time, and trusted: {len(changed)} tool(s) of this server")
        try:
            self._known.learn(changed)
        except OSError as problem:
            self._warn(f"cannot remember what the server's tools are: {problem.strerror}: {problem.filename}")

    def _tell(self, tool: Tool, mark: str) -> None:
        """In the evidence of the session that calls of this tool go to."""
        instance = self._others.get(tool.name, self._main)
        with contextlib.suppress(SessionEnded):
            instance.record(mark, **tool.members())

    def _note_unread(self, whose: str, reason: str) -> None:
        """In evidence, the first of them and then fewer and fewer: a server may write what it likes for ever."""
        self._unread += 1
        if self._unread & (self._unread - 1) == 0:
            with contextlib.suppress(SessionEnded):
                self._main.record("unread", reason=reason, count=self._unread, **{"from": whose})


def _tool(message: dict[str, Any]) -> str:
    name = parameters(message).get("name")
    return name if isinstance(name, str) else ""
