"""say-do-mismatch of MCP tools: what a call did beside what its tool's annotations rule out."""

from __future__ import annotations

from typing import Any

import pytest

from remit.testing import Playbook

WRITE, MAKE, EMPTY, APPEND, BOTH = 0o1, 0o101, 0o1001, 0o2001, 0o2


def server(**tools: dict[str, bool]) -> Playbook:
    """A server that has listed these tools, with their annotations; it is the current process."""
    book = Playbook(temporary_directory="/tmp/remit-1").spawn("/usr/bin/python3", "server.py", name="server")
    for name, hints in tools.items():
        listed(book, name, hints)
    return book


def listed(book: Playbook, name: str, annotations: dict[str, bool]) -> Playbook:
    said = {"tool": name, "description": "", "annotations": annotations, "digests": {"description": "1"}}
    return book.add("mcp", mark="listed", process=book.id("server"), **said)


def call(book: Playbook, step: str, tool: str, arguments: Any = None) -> Playbook:
    body = {"mark": "begin", "step": step, "tool": tool, "arguments": arguments, "phase": None, "source": "mcp"}
    return book.add("step", **body, caller=book.id("server"))


READER = {"readOnlyHint": True}
MISMATCH = "say-do-mismatch"


def reading() -> Playbook:
    return call(server(read=READER), "mcp:1", "read")


def test_a_write_in_a_call_of_a_tool_that_only_reads_is_found_at_its_step() -> None:
    book = reading().open("/work/a", flags=MAKE, new=True)
    book.expect(MISMATCH, step="mcp:1", state="succeeded", attribution="likely", severity="medium")
    assert "read says readOnlyHint: true" in book.findings[0]["summary"]


def test_a_write_of_a_server_of_the_calls_own_is_proven_and_grave() -> None:
    book = Playbook(temporary_directory="/tmp/remit-1").spawn(name="server")
    call(listed(book, "read", READER), "mcp:1", "read").spawn("/usr/bin/python3", "server.py", step="mcp:1")
    book.open("/work/a", flags=EMPTY).expect(MISMATCH, step="mcp:1", attribution="proven", severity="high")


# Evasions


def test_a_child_that_writes() -> None:
    reading().fork().exec("/usr/bin/tee", "/work/a").open("/work/a", flags=EMPTY).expect(MISMATCH, step="mcp:1")


def test_a_double_fork_that_writes_when_the_call_is_over() -> None:
    book = reading().fork("middle").fork("last").exit("middle").end_step("mcp:1")
    call(listed(book, "write", {}), "mcp:2", "write").act_as("last").open("/work/a", flags=APPEND)
    book.expect(MISMATCH, step="mcp:1")


def test_a_rename_over_a_file() -> None:
    book = reading().open("/tmp/remit-1/new", flags=MAKE, new=True).expect_nothing()
    book.change("rename", "/work/a", source="/tmp/remit-1/new").expect(MISMATCH, step="mcp:1", severity="medium")


@pytest.mark.parametrize("operation", ["unlink", "truncate", "mkdir", "symlink", "link", "chmod"])
def test_a_change_of_a_name(operation: str) -> None:
    reading().change(operation, "/work/a").expect(MISMATCH, step="mcp:1", state="succeeded")


def test_an_attempt_that_was_refused() -> None:
    reading().open("/etc/a", flags=WRITE, refused=True).expect(MISMATCH, state="attempted", severity="medium")


def test_opened_for_both_and_nobody_saw_which() -> None:
    book = reading().open("/work/a", flags=BOTH).expect(MISMATCH, severity="low")
    book.open("/work/a", flags=EMPTY).expect(MISMATCH, severity="medium")


def test_calls_at_once_whose_tools_all_promise_the_same() -> None:
    book = call(reading(), "mcp:2", "read").open("/work/a", flags=EMPTY)
    book.expect(MISMATCH, step=None, candidates=["mcp:1", "mcp:2"])


def test_a_promise_that_was_remembered_counts_before_the_server_lists_anything() -> None:
    book = Playbook(temporary_directory="/tmp/remit-1")
    said = {"tool": "read", "annotations": READER, "digests": {}}
    book.add("mcp", mark="remembered", process=None, **said).spawn("/usr/bin/python3", name="server")
    call(book, "mcp:1", "read").open("/work/a", flags=EMPTY).expect(MISMATCH, step="mcp:1")


@pytest.mark.parametrize("act", ["tcp", "udp", "refused"])
def test_a_way_out_of_a_closed_world(act: str) -> None:
    book = call(server(query={"openWorldHint": False}), "mcp:1", "query")
    if act == "udp":
        more = {"family": "inet", "address": "9.9.9.9", "port": 53, "errno": 0, "refused": False}
        book.add("flow", operation="send", process=book.id("server"), **more)
    else:
        book.connect("9.9.9.9:443", refused=act == "refused")
    book.expect(MISMATCH, step="mcp:1", state="attempted" if act == "refused" else "succeeded")


@pytest.mark.parametrize("act", ["empty", "unlink", "rename"])
def test_a_tool_that_only_adds_takes_away(act: str) -> None:
    book = call(server(add={"destructiveHint": False}), "mcp:1", "add")
    if act == "empty":
        book.open("/work/a", flags=EMPTY)
    else:
        book.change(act, "/work/b", source="/work/a" if act == "rename" else "")
    book.expect(MISMATCH, step="mcp:1")


# Benign twins


@pytest.mark.parametrize(
    "path",
    [
        "/tmp/remit-1/x",
        "/tmp/remit-1/home/.config/tool",
        "/dev/shm/sem.x",
        "/proc/self/comm",
        "/work/__pycache__/a.cpython-311.pyc.140737",
        "/work/.pytest_cache/v",
        "/work/.git/index.lock",
        "/work/data.sqlite-wal",
    ],
)
def test_scratch_is_free(path: str) -> None:
    reading().open(path, flags=MAKE, new=True).expect_nothing()


@pytest.mark.parametrize("path", ["/tmp/remit-12/x", "/work/poetry.lock", "/work/__pycache__/a.sh", "/work/proc/a"])
def test_what_only_looks_like_scratch_is_not(path: str) -> None:
    reading().open(path, flags=MAKE, new=True).expect(MISMATCH)


def test_honest_work_is_silent() -> None:
    book = server(
        read={**READER, "openWorldHint": False}, write={"readOnlyHint": False}, add={"destructiveHint": False}
    )
    call(book, "mcp:1", "read").read("/work/a", refused=False).open("/work/data.sqlite3", flags=BOTH)
    book.connect("127.0.0.1:5432").connect("10.0.0.7:5432").connect("/run/nscd").end_step("mcp:1")
    call(book, "mcp:2", "write").open("/work/a", flags=EMPTY).connect("9.9.9.9:443").end_step("mcp:2")
    call(book, "mcp:3", "add").open("/work/b", flags=MAKE, new=True).open("/work/c", flags=APPEND)
    book.open("/work/b", flags=EMPTY).change("unlink", "/work/b").end_step("mcp:3").expect_nothing()


def test_what_failed_by_itself_did_nothing() -> None:
    reading().open("/work", flags=WRITE, errno=21).expect_nothing()


def test_one_of_several_calls_may_write() -> None:
    book = call(reading(), "mcp:2", "write").open("/work/a", flags=EMPTY)
    book.expect_nothing()
    listed(book, "write", {})
    call(book, "mcp:3", "write").open("/work/a", flags=EMPTY).expect_nothing()


def test_out_of_any_step_nothing_is_said() -> None:
    reading().end_step("mcp:1").open("/work/a", flags=EMPTY).expect_nothing()


@pytest.mark.parametrize("hints", [{}, {"readOnlyHint": False}, {"idempotentHint": True}, {"openWorldHint": True}])
def test_who_promises_nothing_breaks_nothing(hints: dict[str, bool]) -> None:
    book = call(server(work=hints), "mcp:1", "work").open("/work/a", flags=EMPTY).change("unlink", "/work/b")
    book.connect("9.9.9.9:443").expect_nothing()


def test_a_verdict_follows_where_the_scope_says_so() -> None:
    book = Playbook(respond={MISMATCH: "freeze"}).spawn("/usr/bin/python3", name="server")
    call(listed(book, "read", READER), "mcp:1", "read").open("/work/a", flags=EMPTY)
    assert [verdict["verdict"] for verdict in book.verdicts] == ["freeze"]
