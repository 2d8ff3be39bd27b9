"""The servers of an MCP conversation: one for all calls, in a session, or one for each call, started in its step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from remit.clock.mcp_messages import Unreadable, is_answer, key_of, read_line
from remit.clock.mcp_server import Server
from remit.clock.sdk import Session, ask

Heard = Callable[[Any, bytes], None]
Over = Callable[[Any, str], None]
# How a server is started: in which step, who hears its lines, who is told of its end.
Start = Callable[[str | None, Callable[[bytes], None], Callable[[str], None]], Server]

_PATIENCE = 0.5  # seconds; a client that started us gives us two


class Shared:
    """One process that serves all the calls it is given."""

    def __init__(self, session: Session, start: Start, heard: Heard, over: Over) -> None:
        self._session = session
        self._once = threading.Lock()
        self._over = over
        self.server = start(None, lambda line: heard(self, line), self._ended)

    def listen(self) -> None:
        self.server.listen()

    def write(self, line: bytes) -> None:
        self.server.write(line)

    def begin(self, step: str, tool: str, arguments: Any) -> Shared:
        mark(self._session, "begin", step, self.server.spawn, tool=tool, arguments=arguments, phase=None)
        return self

    def end(self, step: str) -> None:
        mark(self._session, "end", step, self.server.spawn)

    def record(self, mark: str, **members: Any) -> None:
        ask(self._session, {"do": "mcp", "mark": mark, "of": self.server.spawn, **members})

    def close(self) -> None:
        self.server.close(patience=_PATIENCE)

    def _ended(self, reason: str) -> None:
        if self._once.acquire(blocking=False):
            self._over(self, reason)


class EachCall:
    """A process for each call, started in its step: what it does is nobody else's. The client's greeting is repeated to
    each."""

    def __init__(self, session: Session, start: Start, heard: Heard, over: Over) -> None:
        self.session = session
        self.start = start
        self.heard = heard
        self.over = over
        self.greeting: list[bytes] = []
        self._lock = threading.Lock()
        self._live: dict[str, _OneCall] = {}

    def write(self, line: bytes) -> None:
        """What every server must be told: kept for those to come."""
        with self._lock:
            live = list(self._live.values())
            if _method(line) in ("initialize", "notifications/initialized", "logging/setLevel"):
                self.greeting.append(line)
        for call in live:
            call.write(line)

    def begin(self, step: str, tool: str, arguments: Any) -> _OneCall:
        mark(self.session, "begin", step, 0, tool=tool, arguments=arguments, phase=None)
        call = _OneCall(self, step)
        with self._lock:
            self._live[step] = call
        call.greet(list(self.greeting))
        return call

    def end(self, step: str) -> None:
        raise AssertionError(f"a call ends itself: {step}")

    def record(self, mark: str, **members: Any) -> None:
        ask(self.session, {"do": "mcp", "mark": mark, "of": 0, **members})

    def forget(self, step: str) -> None:
        with self._lock:
            self._live.pop(step, None)

    def close(self) -> None:
        with self._lock:
            live = list(self._live.values())
        for call in live:
            call.close()


class _OneCall:
    """A server that has one call. What it is told waits until it has answered the greeting; when it has answered its
    call it is ended, and only then the answer is passed on."""

    def __init__(self, of: EachCall, step: str) -> None:
        self._of = of
        self._step = step
        self._lock = threading.Lock()
        self._waiting: list[bytes] | None = None
        self._greeting: Any = None
        self._call: Any = None
        self.server = of.start(step, self._heard, self._ended)

    def greet(self, lines: list[bytes]) -> None:
        if lines:
            self._greeting = key_of(read_line(lines[0])[0])
            self._waiting = lines[1:]
            self.server.write(lines[0])
        self.server.listen()

    def write(self, line: bytes) -> None:
        with self._lock:
            if self._call is None:  # it comes first
                self._call = key_of(read_line(line)[0])
            if self._waiting is not None:
                self._waiting.append(line)
                return
        self.server.write(line)

    def begin(self, step: str, tool: str, arguments: Any) -> _OneCall:
        raise AssertionError(f"it has its call: {step}")

    def end(self, step: str) -> None:
        mark(self._of.session, "end", step, self.server.spawn)
        self._of.forget(step)

    def record(self, mark: str, **members: Any) -> None:
        ask(self._of.session, {"do": "mcp", "mark": mark, "of": self.server.spawn, **members})

    def close(self) -> None:
        self.server.close(patience=_PATIENCE)

    def _heard(self, line: bytes) -> None:
        if self._waiting is not None and _answers(line, self._greeting):
            with self._lock:
                waiting, self._waiting = self._waiting, None
                for each in waiting:
                    self.server.write(each)
            return
        if self._call is not None and _answers(line, self._call):
            self.close()
        self._of.heard(self, line)

    def _ended(self, reason: str) -> None:
        self._of.over(self, reason)


def mark(session: Session, mark: str, step: str, spawn: int, **members: Any) -> None:
    """Raises SessionEnded."""
    ask(session, {"do": "step", "mark": mark, "step": step, "given_to": spawn, **members})


def _answers(line: bytes, key: Any) -> bool:
    try:
        messages = read_line(line)
    except Unreadable:
        return False
    return len(messages) == 1 and is_answer(messages[0]) and key_of(messages[0]) == key


def _method(line: bytes) -> Any:
    messages = read_line(line)
    return messages[0].get("method") if messages else None
