"""The gateway's end of its channel to the supervisor, for asyncio: one question at a time has one answer."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from remit.protocol import MESSAGE_MAX, Message, encode

_LENGTH_BYTES = 4


class SupervisorGone(Exception):
    """The session has ended."""


class SupervisorLink:
    """`ask` may be called by many tasks; answers come in any order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.ended = asyncio.Event()

    @classmethod
    async def open(cls, channel: socket.socket) -> SupervisorLink:
        reader, writer = await asyncio.open_connection(sock=channel)
        return cls(reader, writer)

    async def ask(self, message: Message) -> Any:
        """What the supervisor says. Raises SupervisorGone, or RuntimeError with its words when it refuses."""
        if self.ended.is_set():
            raise SupervisorGone
        self._last += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = answer
        self._writer.write(encode({**message, "request": self._last}))
        return await answer

    def tell(self, message: Message) -> None:
        """As `ask`, for what needs no answer: the supervisor takes messages up in the order in which they were sent."""
        if self.ended.is_set():
            raise SupervisorGone
        self._last += 1
        self._writer.write(encode({**message, "request": self._last}))

    async def serve(self) -> None:
        """Take answers in until the supervisor is gone."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
                if length > MESSAGE_MAX:
                    break
                self._take(json.loads(await self._reader.readexactly(length)))
        except (OSError, EOFError, ValueError):
            pass
        finally:
            self.ended.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(SupervisorGone())
            self._writer.close()

    def _take(self, message: Message) -> None:
        answer = self._waiting.pop(message.get("request", 0), None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(RuntimeError(str(message["error"])))
        else:
            answer.set_result(message.get("ok"))
