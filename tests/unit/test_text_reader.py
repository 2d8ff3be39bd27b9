"""A text that keeps the parser busy, or breaks it, costs itself, and the next one is read."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from remit.cli.text_reader import COMMAND
from remit.clock import text_reader
from remit.clock.text_reader import TextReader

BUSY = {"command": "a|" * 30_000}  # takes the grammar a minute


def read(command: tuple[str, ...], *calls: Any) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        reader = TextReader(command)
        try:
            return list(await asyncio.gather(*map(reader.declared, calls)))
        finally:
            await reader.close()

    return asyncio.run(run())


def test_what_a_call_declares_is_read() -> None:
    assert read(COMMAND, {"command": "ls -l"}, None, {}, {"path": "\ud800"}) == [
        {"programs": [["ls", "-l"]]}, {}, {}, {"reads": ["\ud800"]},
    ]  # fmt: skip


def test_a_text_that_takes_too_long_may_run_anything_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "SECONDS", 3.0)
    assert read(COMMAND, {"command": "date"}, BUSY, {"command": "ls"}) == [
        {"programs": [["date"]]}, {"programs": [], "anything": True}, {"programs": [["ls"]]},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script", ["import os; os.abort()", "print('no JSON')", "print('[]')", "import sys; sys.stdin.readline()"]
)
def test_a_reader_that_breaks_says_nothing_of_the_call(script: str) -> None:
    assert read((sys.executable, "-c", script), {"command": "ls"}) == [{"programs": [], "anything": True}]


def test_one_that_cannot_be_started_says_nothing_either() -> None:
    assert read(("/no/such/reader",), {"command": "ls"}) == [{"programs": [], "anything": True}]
