"""tool-changed: what a server says of its tools now, beside what was remembered or was listed before."""

from __future__ import annotations

import pytest

from remit.testing import Playbook

CHANGED = "tool-changed"


def say(book: Playbook, mark: str, tool: str, **digests: str) -> Playbook:
    members = {"tool": tool, "description": "", "annotations": {}, "digests": {"description": "1", **digests}}
    return book.add("mcp", mark=mark, process=None if mark == "remembered" else book.id("server"), **members)


def known(*tools: str) -> Playbook:
    book = Playbook()
    for tool in tools:
        say(book, "remembered", tool)
    return book.spawn("/usr/bin/python3", "server.py", name="server")


@pytest.mark.parametrize("part", ["description", "input", "output", "annotations", "title", "rest"])
def test_a_change_between_sessions_names_what_changed(part: str) -> None:
    book = say(known("read"), "listed", "read", **{part: "2"})
    book.expect(CHANGED, severity="medium", state="succeeded", step=None)
    assert book.findings[0]["summary"].endswith(f"since an earlier session: {part}")


def test_a_change_within_a_session() -> None:
    book = say(say(known(), "listed", "read"), "listed", "read", description="2")
    book.expect(CHANGED, severity="medium")
    assert "within the session" in book.findings[0]["summary"]


def test_a_change_that_is_taken_back_was_one() -> None:
    book = say(say(known("read"), "listed", "read", description="2"), "listed", "read")
    book.expect(CHANGED, severity="medium")


def test_a_part_that_is_gone_is_a_change() -> None:
    book = say(known(), "listed", "read", annotations="1")
    say(book, "listed", "read").expect(CHANGED)


def test_a_new_tool_of_a_known_server_is_a_weak_finding() -> None:
    say(known("read"), "listed", "read\N{CYRILLIC SMALL LETTER A}").expect(CHANGED, severity="low")


def test_the_first_time_everything_is_trusted() -> None:
    say(say(known(), "listed", "read"), "listed", "write").expect_nothing()


def test_the_same_again_is_nothing() -> None:
    book = known("read", "write")
    say(say(say(book, "listed", "write"), "listed", "read"), "listed", "read").expect_nothing()


def test_what_cannot_be_read_and_an_end_are_no_change() -> None:
    book = known("read").add("mcp", mark="unread", process=None, reason="not JSON", count=1, **{"from": "server"})
    book.add("mcp", mark="gone", process=None, reason="the server ended").expect_nothing()
