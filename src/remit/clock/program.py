"""A program that runs inside a session, seen from the harness outside: what subprocess.Popen offers, where it fits."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import IO, Any

from remit.clock.channel import Channel
from remit.protocol import Message

Stream = int | IO[Any] | None


class Program:
    """A running program. `returncode` is None until it ended, then as in subprocess: negative for a signal."""

    def __init__(
        self,
        channel: Channel,
        arguments: list[str],
        *,
        step: str | None,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        environment: dict[str, str],
        directory: str,
        text: bool,
    ) -> None:
        self.args = arguments
        self._text = text
        self.returncode: int | None = None
        self._channel = channel
        self._ended = threading.Event()
        given: list[int] = []
        opened: list[int] = []
        try:
            self.stdin = _stream(stdin, "w", 0, text, given, opened)
            self.stdout = _stream(stdout, "r", 1, text, given, opened)
            self.stderr = self.stdout if stderr == subprocess.STDOUT else _stream(stderr, "r", 2, text, given, opened)
            if stderr == subprocess.STDOUT:
                given.append(given[1])
            self.spawn: int = channel.ask(
                {
                    "do": "spawn",
                    "step": step,
                    "arguments": arguments,
                    "environment": environment,
                    "directory": directory,
                    "new_session": True,
                },
                tuple(given),
            )
        finally:
            for number in opened:
                os.close(number)
        if stderr == subprocess.STDOUT:
            self.stderr = None
        channel.follow(self.spawn, self._news)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._channel.ask({"do": "signal", "spawn": self.spawn, "signal": int(number)})

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Feed the standard input, read both outputs to their ends, wait. Raises subprocess.TimeoutExpired, after
        which it may be called again, as in subprocess; TypeError for input that would be lost."""
        check_input(input, text=self._text)
        if input and self.stdin is None:
            raise TypeError("there is nobody to give the input to: start the program with stdin=subprocess.PIPE")
        if not hasattr(self, "_readers"):
            self._collected: dict[str, Any] = {}
            self._readers = [
                self._start(self._collect, name, stream)
                for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
                if stream is not None
            ]
            if self.stdin is not None:
                self._readers.append(self._start(self._feed, input))
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(timeout)
        return self._collected.get("stdout"), self._collected.get("stderr")

    def _start(self, work: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _collect(self, name: str, stream: IO[Any]) -> None:
        with stream:
            self._collected[name] = stream.read()

    def _feed(self, data: Any) -> None:
        assert self.stdin is not None
        try:
            with self.stdin:
                if data:
                    self.stdin.write(data)
        except BrokenPipeError:
            pass

    def _news(self, message: Message) -> None:
        if "exited" in message and self.returncode is None:  # the session's end is told of all that ever ran
            self.returncode = os.waitstatus_to_exitcode(message["status"])
            self._ended.set()


def check_input(data: Any, *, text: bool) -> None:
    """Raises TypeError, as subprocess does, for what the thread that feeds the program could not write."""
    if data is not None and not isinstance(data, str if text else bytes | bytearray | memoryview):
        wanted = "a string, for text=True" if text else "bytes, or text=True is missing"
        raise TypeError(f"input must be {wanted}: {type(data).__name__}")


def _stream(wanted: Stream, mode: str, number: int, text: bool, given: list[int], opened: list[int]) -> IO[Any] | None:
    """Add the descriptor that the program gets to `given`, and return our end of a pipe if one was asked for.

    What is in `opened` is ours to close once the program has it.
    """
    if wanted == subprocess.PIPE:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        theirs, ours = (reader, writer) if mode == "w" else (writer, reader)
        given.append(theirs)
        opened.append(theirs)
        return open(ours, mode if text else mode + "b")
    if wanted == subprocess.DEVNULL:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        given.append(null)
        opened.append(null)
    elif wanted is None:
        given.append(number)
    else:
        given.append(wanted if isinstance(wanted, int) else wanted.fileno())
    return None
