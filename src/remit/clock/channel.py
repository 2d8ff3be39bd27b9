"""The harness's end of a session's channel: requests with answers, and news of programs, from one reading thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from remit.errors import RemitError, StepError
from remit.protocol import Message, ProtocolError, Receiver, send
from remit.session import SessionEnded

News = Callable[[Message], None]


class Channel:
    """Thread-safe. `closed` is called once, when the session has ended or the supervisor is gone."""

    def __init__(self, connection: socket.socket, *, closed: Callable[[], None]) -> None:
        self._connection = connection
        self._receiver = Receiver(connection)
        self._lock = threading.Lock()
        self._answers: dict[int, Future[Any]] = {}
        self._news: dict[int, News] = {}
        self._early: dict[int, list[Message]] = {}
        self._last = 0
        self._closed = closed
        self.ended = False

    def greet(self) -> Message | None:
        """The supervisor's first message, or None when it could not start."""
        try:
            return self._receiver.wait()
        except (OSError, ProtocolError):
            return None

    def start(self) -> None:
        threading.Thread(target=self._read, name="remit-session", daemon=True).start()

    def ask(self, message: Message, descriptors: tuple[int, ...] = ()) -> Any:
        """Send a request and wait for its answer. Raises SessionEnded, StepError, or RemitError when it was refused."""
        answer: Future[Any] = Future()
        with self._lock:
            if self.ended:
                raise SessionEnded("the session has ended", hint="see the report for why")
            self._last += 1
            self._answers[self._last] = answer
            try:
                send(self._connection, {**message, "request": self._last, "descriptors": len(descriptors)}, descriptors)
            except OSError:
                pass  # the reading thread sees the same end and answers
        return answer.result()

    def follow(self, spawn: int, news: News) -> None:
        """Hear about a program, including what came before this call."""
        with self._lock:
            if self.ended:
                early = [*self._early.pop(spawn, []), {"exited": spawn, "status": 9}]
            else:
                self._news[spawn] = news
                early = self._early.pop(spawn, [])
        for message in early:
            news(message)

    def close(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _read(self) -> None:
        try:
            while (message := self._receiver.wait()) is not None:
                self._dispatch(message)
        except (OSError, ProtocolError):
            pass
        with self._lock:
            self.ended = True
            answers, self._answers = list(self._answers.values()), {}
            news, self._news = list(self._news.items()), {}
        for answer in answers:
            answer.set_exception(SessionEnded("the session has ended", hint="see the report for why"))
        for spawn, tell in news:
            tell({"exited": spawn, "status": 9})  # the supervisor ends nothing before it has killed everything
        self._connection.close()
        self._closed()

    def _dispatch(self, message: Message) -> None:
        if "request" in message:
            with self._lock:
                answer = self._answers.pop(message["request"], None)
            if answer is not None and "error" in message:
                kind = StepError if message.get("class") == "StepError" else RemitError
                answer.set_exception(kind(message["error"], hint=message.get("hint")))
            elif answer is not None:
                answer.set_result(message.get("ok"))
            return
        spawn = message.get("spawned", message.get("exited"))
        if not isinstance(spawn, int):
            return
        with self._lock:
            tell = self._news.get(spawn)
            if tell is None:
                self._early.setdefault(spawn, []).append(message)
        if tell is not None:
            tell(message)


def close_all(descriptors: list[int]) -> None:
    for number in descriptors:
        os.close(number)
