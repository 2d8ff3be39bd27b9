"""What a harness does with remit.Session, as it would with subprocess."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from typing import Any

import pytest
from stage import Stage, nobody_left, recorded

import remit
from remit.errors import RemitError, StepError, UsageError


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_comes_before_the_program_is_not_lost(stage: Stage, number: signal.Signals) -> None:
    with remit.Session(workspace=stage.workspace) as session, session.step("call", tool="bash"):
        for _ in range(5):
            program = session.popen(["sleep", "60"])
            program.send_signal(number)
            assert program.wait(20) == -number


def test_a_timeout_before_the_program_leaves_no_word_behind(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with remit.Session(workspace=stage.workspace) as session:
            began = time.monotonic()
            with pytest.raises(subprocess.TimeoutExpired):
                session.run(["sleep", "60"], timeout=0.0001)
        assert time.monotonic() - began < 20
        nobody_left(session.evidence)
    assert capfd.readouterr().err == ""


def test_leaving_at_once_leaves_no_word_behind(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with remit.Session(workspace=stage.workspace) as session:
            program = session.popen(["sleep", "60"])
        assert program.wait(20) == -signal.SIGKILL
        nobody_left(session.evidence)
    assert capfd.readouterr().err == ""


def test_what_is_no_program_and_no_directory_says_so(stage: Stage) -> None:
    (stage.workspace / "file").write_text("")
    with remit.Session(workspace=stage.workspace) as session, session.step("call", tool="bash"):
        with pytest.raises(TypeError, match="list of words"):
            session.run("ls -l")
        with pytest.raises(FileNotFoundError, match="/missing"):
            session.run(["ls"], cwd=stage.workspace / "missing")
        with pytest.raises(NotADirectoryError, match="/file"):
            session.run(["ls"], cwd=stage.workspace / "file")
        done = session.run(["no-such-program"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (127, "remit: cannot run no-such-program: not found\n")
        assert session.run([b"echo", stage.workspace], capture_output=True, text=True).stdout == f"{stage.workspace}\n"


def test_what_would_be_lost_raises_before_anything_is_started(stage: Stage) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("text=True is missing", {"input": "x"}),
        ("a string", {"input": b"x", "text": True}),
        ("stdin", {"input": b"x", "stdin": subprocess.PIPE}),
        ("env must be strings", {"env": {"PORT": 8080}}),
        ("env must be strings", {"env": {"NONE": None}}),
        ("env must be strings", {"env": {1: "one"}}),
    ]
    with remit.Session(workspace=stage.workspace) as session, session.step("call", tool="bash"):
        for message, options in wrong:
            with pytest.raises(TypeError, match=message):
                session.run(["touch", "started"], **options)
        assert not (stage.workspace / "started").exists()
        assert recorded(session.evidence, "fork") == []
        for given, data in ((subprocess.PIPE, "x"), (subprocess.DEVNULL, b"x")):
            program = session.popen(["cat"], stdin=given, stdout=subprocess.PIPE)
            with pytest.raises(TypeError):
                program.communicate(data)
            assert program.communicate() == (b"", None)
        assert session.run(["cat"], input=bytearray(b"x"), capture_output=True).stdout == b"x"
        assert session.run(["cat"], input="x", capture_output=True, text=True, env={"A": "b"}).stdout == "x"


def test_a_session_that_was_not_entered_says_so(stage: Stage) -> None:
    session = remit.Session(workspace=stage.workspace)
    for call in (session.freeze, session.resume, session.kill, lambda: session.run(["true"])):
        with pytest.raises(RemitError, match="has not been entered"):
            call()
    with pytest.raises(RemitError, match="has not been entered"), session.step("call", tool="bash"):
        pass


def test_a_gap_that_there_is_none_of_is_a_usage_error(stage: Stage) -> None:
    with (
        pytest.raises(UsageError, match="no such gap: x"),
        remit.Session(workspace=stage.workspace, accept_gaps=("x",)),
    ):
        pass


def test_a_step_that_is_misused_is_an_error_of_its_own(stage: Stage) -> None:
    with remit.Session(workspace=stage.workspace) as session:
        with session.step("call", tool="bash"):
            pass
        with pytest.raises(StepError, match="used before: call"), session.step("call", tool="bash"):
            pass
        with pytest.raises(StepError, match="not open: never"):
            session.run(["true"], step="never")
        with pytest.raises(StepError, match="1 to 256"), session.step("", tool="bash"):
            pass


def test_a_session_of_asyncio(stage: Stage) -> None:
    async def call(session: remit.AsyncSession, name: str) -> str:
        async with session.step(name, tool="bash"):
            return str((await session.run(["echo", name], capture_output=True, text=True)).stdout)

    async def main() -> None:
        async with remit.AsyncSession(workspace=stage.workspace) as session:
            assert await asyncio.gather(call(session, "one"), call(session, "two")) == ["one\n", "two\n"]
            # More at once than asyncio has threads to wait in; each can still be killed.
            programs = [await session.popen(["sleep", "60"]) for _ in range(40)]
            waiting = [asyncio.ensure_future(program.wait()) for program in programs]
            await asyncio.sleep(0)
            for program in programs:
                await program.kill()
            assert await asyncio.gather(*waiting) == [-signal.SIGKILL] * 40
            cat = await session.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert await cat.communicate("said") == ("said", None)
            assert cat.poll() == cat.returncode == 0

    asyncio.run(main())


def test_the_package_shows_what_it_has() -> None:
    assert {"Session", "AsyncSession", "SessionEnded", "SessionResult"} <= set(dir(remit))
