"""`remit.AsyncSession`: a Session for asyncio, the same calls awaited; each waits in a thread and holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from remit.clock.program import Program
from remit.clock.sdk import Session
from remit.session import SessionResult

_T = TypeVar("_T")
# Far above the tool calls of one session: a kill must never wait for a thread until the programs it shall kill end.
_THREADS = 1024


class AsyncProgram:
    """A running program, as `Session.popen` returns it, with its blocking calls awaited.

    Its streams are plain files, whose reading blocks: `communicate` reads them to their ends meanwhile.
    """

    def __init__(self, program: Program, threads: ThreadPoolExecutor) -> None:
        self._program = program
        self._threads = threads

    @property
    def args(self) -> list[str]:
        return self._program.args

    @property
    def returncode(self) -> int | None:
        return self._program.returncode

    @property
    def stdin(self) -> IO[Any] | None:
        return self._program.stdin

    @property
    def stdout(self) -> IO[Any] | None:
        return self._program.stdout

    @property
    def stderr(self) -> IO[Any] | None:
        return self._program.stderr

    def poll(self) -> int | None:
        return self._program.poll()

    async def wait(self, timeout: float | None = None) -> int:
        return await _in_thread(self._threads, self._program.wait, timeout)

    async def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        return await _in_thread(self._threads, self._program.communicate, input, timeout)

    async def send_signal(self, number: int) -> None:
        await _in_thread(self._threads, self._program.send_signal, number)

    async def terminate(self) -> None:
        await _in_thread(self._threads, self._program.terminate)

    async def kill(self) -> None:
        await _in_thread(self._threads, self._program.kill)


class AsyncSession:
    """`Session` for asyncio. A call that is cancelled is no longer waited for; the program it started runs on."""

    def __init__(self, scope: str | os.PathLike[str] | None = None, **options: Any) -> None:
        self._session = Session(scope, **options)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="remit")

    async def __aenter__(self) -> AsyncSession:
        await _in_thread(self._threads, self._session.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _in_thread(self._threads, self._session.__exit__, kind, problem, trace)
        self._threads.shutdown(wait=False)

    @property
    def evidence(self) -> Path:
        return self._session.evidence

    @property
    def id(self) -> str:
        return self._session.id

    @property
    def result(self) -> SessionResult | None:
        return self._session.result

    @contextlib.asynccontextmanager
    async def step(self, id: str, *, tool: str, arguments: Any = None, phase: str | None = None) -> AsyncIterator[str]:
        step = self._session.step(id, tool=tool, arguments=arguments, phase=phase)
        # Entered here, not in a thread: the step is carried by a context variable of this task.
        with step as entered:
            yield entered

    async def say(self, text: str) -> None:
        await _in_thread(self._threads, self._session.say, text)

    async def run(self, arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        return await _in_thread(self._threads, self._session.run, arguments, **options)

    async def popen(self, arguments: Sequence[str], **options: Any) -> AsyncProgram:
        return AsyncProgram(await _in_thread(self._threads, self._session.popen, arguments, **options), self._threads)

    async def freeze(self) -> int:
        return await _in_thread(self._threads, self._session.freeze)

    async def resume(self) -> int:
        return await _in_thread(self._threads, self._session.resume)

    async def kill(self) -> None:
        await _in_thread(self._threads, self._session.kill)


def beneath(session: Session | AsyncSession) -> Session:
    """The session whose calls an AsyncSession awaits, for callbacks that nobody awaits."""
    return session._session if isinstance(session, AsyncSession) else session


async def _in_thread(threads: ThreadPoolExecutor, call: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """As asyncio.to_thread, whose few threads all of a program shares."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, lambda: context.run(call, *arguments, **options))
