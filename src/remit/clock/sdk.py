"""A session driven by a harness that stands outside the boundary, so that its step marks prove.

    with remit.Session(workspace="/work/repository") as session:
        with session.step("call_1", tool="bash", arguments={"command": "make test"}):
            done = session.run(["bash", "-c", "make test"], capture_output=True, text=True)

The agent's programs run inside; the harness, its model client and its credentials stay outside.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from remit.clock.channel import Channel
from remit.clock.program import Program, Stream, check_input
from remit.errors import BoundaryError, EvidenceError, RemitError, ScopeError, UsageError, WallGapError
from remit.session import SessionEnded, SessionResult

_current_step: contextvars.ContextVar[str | None] = contextvars.ContextVar("remit_step", default=None)
_CLOSE_SECONDS = 30.0
_LONGEST_TEXT = 64 << 10  # characters of what the model said that are kept


class Session:
    """One session of one task. Use as a context manager; leaving it ends whatever still runs inside.

    Raises UsageError, ScopeError, WallGapError, BoundaryError or EvidenceError on entry, before any program has run.
    `evidence` and `id` are valid inside; `result` after leaving.
    """

    def __init__(
        self,
        scope: str | os.PathLike[str] | None = None,
        *,
        workspace: str | os.PathLike[str] | None = None,
        task: str | None = None,
        labels: Mapping[str, str] | None = None,
        evidence: str | os.PathLike[str] | None = None,
        accept_gaps: Sequence[str] = (),
        sight: str = "normal",
        observe: bool = False,
    ) -> None:
        if sight not in ("normal", "full"):
            raise ValueError(f"sight must be normal or full: {sight}")
        self._options: dict[str, Any] = {
            "scope": None if scope is None else os.path.abspath(scope),
            "workspace": os.path.abspath(workspace) if workspace else _current_directory(),
            "task": task,
            "labels": dict(labels or {}),
            "evidence": None if evidence is None else os.path.abspath(evidence),
            "accept_gaps": list(accept_gaps),
            "sight": sight,
            "observe": observe,
        }
        self.id = ""
        self.evidence = Path()
        self.result: SessionResult | None = None
        self._environment: dict[str, str] = {}
        self._entered: Channel | None = None
        self._over = threading.Event()

    def __enter__(self) -> Session:
        ours, theirs = socket.socketpair()
        with theirs:
            # -I: the agent's workspace is often the current directory, and nothing of it may be imported here.
            self._host = subprocess.Popen(
                [sys.executable, "-I", "-m", "remit.cli.session", str(theirs.fileno()), json.dumps(self._options)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        channel = Channel(ours, closed=self._over.set)
        greeting = channel.greet()
        if greeting is None or "ready" not in greeting:
            ours.close()
            raise self._failure()
        self.id = greeting["ready"]["session"]
        self.evidence = Path(greeting["ready"]["evidence"])
        self._environment = greeting["ready"]["environment"]
        channel.start()
        self._entered = channel
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(SessionEnded):
            self._channel.ask({"do": "finish"})
        self._over.wait(_CLOSE_SECONDS)
        self._channel.close()
        ended = self._last_word()
        if "ended" not in ended:
            if kind is None:
                raise _error(ended)
            return
        self.result = SessionResult(**ended["ended"])

    @contextlib.contextmanager
    def step(self, id: str, *, tool: str, arguments: Any = None, phase: str | None = None) -> Iterator[str]:
        """Everything started inside is charged to this step: a new one, or one that a gateway has begun (`remit
        gateway`) and will end. Raises StepError for an id that was used before."""
        mark = {"do": "step", "mark": "begin", "step": id, "tool": tool, "arguments": arguments, "phase": phase}
        begun = self._channel.ask({**mark, "join": True})
        token = _current_step.set(id)
        try:
            yield id
        finally:
            with contextlib.suppress(ValueError):  # ended in another context, where it never was the current one
                _current_step.reset(token)
            # A step that the session's end cut short is closed by that end.
            with contextlib.suppress(SessionEnded):
                if begun is None:
                    self._channel.ask({"do": "step", "mark": "end", "step": id})

    def say(self, text: str) -> None:
        """Record what the model said in this turn, before the steps of its tool calls begin."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a string: {type(text).__name__}")
        entry: dict[str, Any] = {"text": text[:_LONGEST_TEXT]}
        if len(text) > _LONGEST_TEXT:
            entry["cut"] = len(text) - _LONGEST_TEXT
        self._channel.ask({"do": "turn", "mark": "answer", "texts": [entry]})

    def popen(
        self,
        arguments: Sequence[str],
        *,
        step: str | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        text: bool = False,
    ) -> Program:
        """Start a program inside the boundary, charged to `step` or to the step that surrounds the call.

        `env` is added to the environment that the scope grants. Standard input is empty unless given: a background
        process that could still be told what to do would blur which step caused what. A program that cannot be
        found or run ends with 127 or 126 and says so on its standard error, as in a shell.
        """
        if isinstance(arguments, str | bytes | os.PathLike):
            raise TypeError(f"arguments must be a list of words, such as ['bash', '-c', ...]: {arguments!r}")
        environment = dict(env or {})
        for name, value in environment.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"env must be strings: {name!r} is given as {type(value).__name__}")
        directory = os.path.abspath(cwd or str(self._options["workspace"]))
        os.stat(os.path.join(directory, "."))  # raises as subprocess does, and names the directory
        return Program(
            self._channel,
            [os.fsdecode(word) for word in arguments],
            step=step if step is not None else _current_step.get(),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            environment={**self._environment, **environment},
            directory=directory,
            text=text,
        )

    def run(
        self,
        arguments: Sequence[str],
        *,
        step: str | None = None,
        input: Any = None,
        capture_output: bool = False,
        stdout: Stream = None,
        stderr: Stream = None,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        text: bool = False,
        timeout: float | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[Any]:
        """subprocess.run, inside the boundary. On timeout the program is killed and TimeoutExpired raised."""
        check_input(input, text=text)
        if capture_output:
            stdout = stderr = subprocess.PIPE
        program = self.popen(
            arguments,
            step=step,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            text=text,
        )
        try:
            output, errors = program.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(SessionEnded):
                program.kill()
            raise
        status = program.wait()
        if check and status:
            raise subprocess.CalledProcessError(status, program.args, output, errors)
        return subprocess.CompletedProcess(program.args, status, output, errors)

    def freeze(self) -> int:
        """Stop every process of the session; returns how many."""
        return int(self._channel.ask({"do": "freeze"}))

    def resume(self) -> int:
        return int(self._channel.ask({"do": "resume"}))

    def kill(self) -> None:
        """End the session now, with everything in it."""
        with contextlib.suppress(SessionEnded):
            self._channel.ask({"do": "kill"})

    @property
    def _channel(self) -> Channel:
        if self._entered is None:
            raise RemitError("the session has not been entered", hint="with remit.Session(...) as session:")
        return self._entered

    def _last_word(self) -> dict[str, Any]:
        output, _ = self._host.communicate()
        try:
            word: dict[str, Any] = json.loads(output)
        except ValueError:
            return {"failed": "the session host died", "hint": None, "exit_status": 125}
        return word

    def _failure(self) -> RemitError:
        return _error(self._last_word())


def ask(session: Session, message: Mapping[str, Any]) -> Any:
    """Ask the supervisor what no harness needs to, for remit's own MCP proxy. Raises SessionEnded, RemitError."""
    return session._channel.ask(dict(message))


def _current_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as problem:
        # It has been removed; Python does not say which it was.
        raise FileNotFoundError(problem.errno, problem.strerror, os.readlink("/proc/self/cwd")) from None


def _error(word: Mapping[str, Any]) -> RemitError:
    for kind in (UsageError, ScopeError, WallGapError, BoundaryError, EvidenceError):
        if word.get("exit_status") == kind.exit_status:
            return kind(str(word["failed"]), hint=word.get("hint"))
    return RemitError(str(word.get("failed", "the session ended without a word")), hint=word.get("hint"))
