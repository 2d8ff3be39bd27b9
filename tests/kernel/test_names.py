"""Names and places at the edge of what there can be: the kernel's own answer, and a record that is right."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from attacks import Attempt, Inside, new_workspace

from remit import Session
from remit.engine.replay import replay
from remit.evidence.chain import verify
from remit.report.summary import build_report
from remit.report.text import render_text

NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def opens(attempt: Attempt) -> list[tuple[str, int, bool]]:
    return [(r["path"], r["errno"], r["refused"]) for r in attempt.records if r["kind"] == "open"]


def test_the_longest_path_and_names_at_the_edge_of_memory(inside: Inside) -> None:
    attempt = inside.do("names.py", "long_paths")
    assert attempt.result == {
        "longest": 0,
        "too long": errno.ENAMETOOLONG,
        "before a hole": 0,
        "into a hole": errno.EFAULT,
        "across pages": 0,
    }
    here = str(inside.workspace)
    assert opens(attempt) == [(f"{here}/" + "x" * 9, 0, False), *[(f"{here}/edge", 0, False)] * 2]


def test_bytes_that_are_no_text_stay_what_they_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = new_workspace(tmp_path_factory)
    odd = os.fsdecode(b"task-\xff")
    with Session(workspace=workspace, task=odd) as session:
        inside = Inside(session, workspace)
        with session.step(odd, tool=odd, arguments={odd: [odd]}):
            attempt = inside.do("names.py", "not_text")
        assert attempt.errno == 0, attempt.errors
    assert opens(attempt) == [(os.fsdecode(bytes(workspace) + b"/dir-\xff\xfe/file-\x80"), 0, False)]
    ran = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert [os.fsencode(word) for word in ran[0]["arguments"][1:]] == [b"argument-\xc3\x28", b"\xed\xa0\x80"]
    assert os.fsencode(ran[0]["directory"]).endswith(b"/dir-\xff\xfe")
    for segment in session.evidence.glob("segment-*"):
        segment.read_text(encoding="ascii")
    assert verify(session.evidence).closed
    assert replay(session.evidence).identical
    assert render_text(build_report(session.evidence)).encode()


def test_a_directory_that_was_removed(inside: Inside) -> None:
    attempt = inside.do("names.py", "removed")
    assert attempt.result == {"relative": errno.ENOENT, "by descriptor": errno.ENOENT, "up and out": 0}
    assert opens(attempt) == [(f"{inside.workspace}/new", 0, False)]
    ran = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert [r["directory"] for r in ran] == [f"{inside.workspace}/gone (deleted)"]


def test_a_directory_deeper_than_any_path(inside: Inside) -> None:
    attempt = inside.do("names.py", "deep")
    assert (attempt.errno, attempt.result) == (0, 0), attempt.errors
    assert opens(attempt) == [("…/bottom", 0, False)]
    ran = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert [(r["directory"], r["refused"]) for r in ran] == [("", False)]


def test_very_many_arguments(inside: Inside) -> None:
    attempt = inside.do("names.py", "large", 900_000)
    assert attempt.result == 0, attempt.errors
    (ran,) = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert ran["truncated"]
    assert verify(inside.session.evidence).whole


@pytest.mark.parametrize(
    ("resolve", "path", "expected", "recorded"),
    [
        (0, "tree/link/new", 0, "{outside}"),
        (BENEATH, "tree/new", 0, "tree/new"),
        (BENEATH, "../new", errno.EXDEV, None),
        (BENEATH, "{here}/tree/new", errno.EXDEV, None),
        (BENEATH, "tree/link/new", errno.EXDEV, None),
        (IN_ROOT, "/tree/new", 0, "tree/new"),
        (IN_ROOT, "../../tree/new", 0, "tree/new"),
        (NO_SYMLINKS, "tree/new", 0, "tree/new"),
        (NO_SYMLINKS, "tree/inner/new", errno.ELOOP, None),
        (NO_MAGICLINKS, "/proc/self/cwd/tree/new", errno.ELOOP, None),
        (NO_MAGICLINKS, "tree/inner/new", 0, "tree/new"),
        (NO_XDEV, "tree/new", 0, "tree/new"),
        (NO_XDEV, "/proc/self/nothing", errno.EXDEV, None),
        (CACHED, "tree/new", errno.EAGAIN, None),
    ],
)
def test_openat2_resolves_as_it_was_told(
    inside: Inside, outside: Path, resolve: int, path: str, expected: int, recorded: str | None
) -> None:
    tree = inside.workspace / "tree"
    tree.mkdir(exist_ok=True)
    for name, target in (("link", outside), ("inner", tree)):
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(target)
    (tree / "new").unlink(missing_ok=True)
    path = path.format(here=inside.workspace)
    attempt = inside.do("names.py", "openat2", resolve, inside.workspace, path)
    if recorded == "{outside}":
        assert attempt.errno == errno.EACCES
        assert opens(attempt) == [(f"{outside}/new", errno.EACCES, True)]
        return
    if resolve == CACHED:  # O_CREAT cannot be done from the cache alone; the record says what was asked
        assert attempt.errno in (expected, 0)
        return
    assert attempt.errno == expected
    happened = [entry for entry in opens(attempt) if entry[1] == 0]
    assert happened == ([(f"{inside.workspace}/{recorded}", 0, False)] if recorded else [])
    assert not any(refused for _, _, refused in opens(attempt))
