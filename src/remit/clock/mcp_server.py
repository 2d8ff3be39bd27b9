"""An MCP server's process inside a session: lines in, lines out, and one word when it is over."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence

from remit.clock.mcp_messages import MESSAGE_MAX
from remit.clock.sdk import Session

ENDED, ENDED_OUTPUT = "it ended", "it ended its output"  # why it is over, by its own will
_CHUNK = 1 << 16


class TooLong(Exception):
    """A line went on and on."""


class Lines:
    """Cuts a stream into lines. What is left at its end is a line too: a message that was cut off."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = bytearray()
        self._seen = 0  # bytes of the rest that hold no end of a line

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        """The next line with its end. Raises TooLong; a stream that fails is one that has ended."""
        while (end := self._rest.find(b"\n", self._seen)) < 0:
            self._seen = len(self._rest)
            if self._seen > MESSAGE_MAX:
                raise TooLong
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                return self._last()
            self._rest += chunk
        line = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        self._seen = 0
        return line

    def _last(self) -> bytes:
        if not self._rest:
            raise StopIteration
        line = bytes(self._rest)
        self._rest.clear()
        self._seen = 0
        return line


class Server:
    """One process. `heard` gets each of its lines, in a thread of the server's own; `over` is called once, with what
    ended it, in the same thread."""

    def __init__(
        self,
        session: Session,
        command: Sequence[str],
        *,
        directory: str,
        heard: Callable[[bytes], None],
        over: Callable[[str], None],
        step: str | None = None,
    ) -> None:
        self.session = session
        self._heard = heard
        self._over = over
        self._program = session.popen(command, step=step, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory)
        self._writing = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="remit-mcp-server", daemon=True)

    def listen(self) -> None:
        """Begin to hear it."""
        self._reader.start()
        threading.Thread(target=self._await_end, name="remit-mcp-end", daemon=True).start()

    @property
    def spawn(self) -> int:
        """What the supervisor calls it."""
        return self._program.spawn

    @property
    def status(self) -> int | None:
        return self._program.poll()

    def write(self, line: bytes) -> None:
        """Pass it a line; whoever reads no more is told no more."""
        stream = self._program.stdin
        assert stream is not None
        with self._writing:
            rest = memoryview(line)
            try:
                while rest and not stream.closed:
                    rest = rest[os.write(stream.fileno(), rest) :]
            except OSError:
                pass  # its reading thread sees the same end

    def close(self, *, patience: float) -> None:
        """Tell it that there is no more, as MCP has it: the end of its input, then SIGTERM, then SIGKILL."""
        stream = self._program.stdin
        assert stream is not None
        if self._writing.acquire(timeout=patience):
            # Else it reads nothing, and would not see that end either.
            stream.close()
            self._writing.release()
        for end in (self._program.terminate, self._program.kill):
            try:
                self._program.wait(patience)
                break
            except subprocess.TimeoutExpired:
                end()

    def _read(self) -> None:
        stream = self._program.stdout
        assert stream is not None
        reason = ENDED_OUTPUT
        try:
            for line in Lines(stream.fileno()):
                self._heard(line)
        except TooLong:
            reason = f"it sent a line longer than {MESSAGE_MAX} bytes"
        except Exception as problem:
            # A fault of our own must not leave a client waiting for ever.
            reason = f"remit failed: {problem!r}"
        self._over(reason)

    def _await_end(self) -> None:
        self._program.wait()
        self._reader.join(1.0)  # a child of it may hold its output open
        self._over(ENDED)
