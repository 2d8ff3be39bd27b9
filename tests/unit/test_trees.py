"""A tree that the agent left is removed whatever it is: deep, closed, or full of links."""

from __future__ import annotations

import os
from pathlib import Path

from remit.cli.trees import remove_tree


def test_a_tree_deeper_than_python_recurses(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    remove_tree(str(top))
    assert not top.exists()


def test_closed_directories_and_links_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    top = tmp_path / "top"
    closed = top / "closed" / "inner"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    (top / "link").symlink_to(outside)
    (closed / "link").symlink_to(outside / "kept")
    (top / "removing-0").mkdir()
    (top / "removing-0" / "file").write_text("x")
    closed.chmod(0)
    (top / "closed").chmod(0)
    top.chmod(0)
    remove_tree(str(top))
    assert not top.exists()
    assert (outside / "kept").read_text() == "kept"


def test_a_wide_tree_and_none(tmp_path: Path) -> None:
    for name in (f"{a}/{b}" for a in range(20) for b in range(20)):
        (tmp_path / "top" / name).mkdir(parents=True)
        (tmp_path / "top" / name / "file").write_text("x")
    remove_tree(str(tmp_path / "top"))
    remove_tree(str(tmp_path / "top"))
    remove_tree(str(tmp_path / "never"))
    assert list(tmp_path.iterdir()) == []
