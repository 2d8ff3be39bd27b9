"""Has what tool calls say read in a process of its own: a text that keeps the parser busy, or breaks it, costs itself.

The grammar's recovery from errors takes time that grows with the square of some texts, and it is not Python that runs
there. Who reads holds nothing: no credential, no channel to the supervisor. A text that is not read in time may ask for
anything.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from typing import Any

from remit.tool_arguments import names_anything

SECONDS = 2.0  # for one call; a usual one takes a millisecond
_MEMORY = 1 << 30
_LINE = 4 << 20
_UNREAD: dict[str, Any] = {"programs": [], "anything": True}


class TextReader:
    """Answers one call after the other; a reader that is lost is replaced."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def declared(self, arguments: Any) -> dict[str, Any]:
        """What `remit.clock.declared` finds in a call's arguments."""
        if not names_anything(arguments):
            return {}
        async with self._turn:
            try:
                async with asyncio.timeout(SECONDS):
                    return await self._ask(arguments)
            except (OSError, EOFError, ValueError, TimeoutError):
                await self.close()
                return _UNREAD

    async def start(self) -> None:
        """Start the process now, so that the first call does not wait for it. Raises OSError."""
        pipe = asyncio.subprocess.PIPE
        null = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=null, env={}, cwd="/", limit=_LINE
        )

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _ask(self, arguments: Any) -> dict[str, Any]:
        if self._process is None:
            await self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        found = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError(line)
        return found


def main() -> None:
    """The process: arguments as lines of JSON come in, what they declare goes out, until there are no more."""
    from remit.clock.declared import declared  # which loads the grammar

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(declared(json.loads(line))) + "\n")
        sys.stdout.flush()
