"""Where masks lie and what they need; placeholders are empty directories, come and go, and follow no link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remit.boundary.mask_mounts import (
    HIDE,
    PIN,
    READ_ONLY,
    Cover,
    lay_out,
    make_placeholders,
    mount_points,
    remove_placeholders,
)
from remit.plan import Mask


def protected(tree: Path, name: str) -> Mask:
    return Mask(str(tree / name), "protected", str(tree))


def secret(tree: Path, name: str) -> Mask:
    return Mask(str(tree / name), "secret", str(tree))


def covers(tree: Path, *masks: Mask) -> dict[str, str]:
    return {os.path.relpath(cover.path, tree): cover.how for cover in lay_out(masks, "/tmp/none")}


def test_every_parent_up_to_the_edge_is_pinned_and_outer_ones_come_first(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    found = covers(tmp_path, secret(tmp_path, "a/b/c"))
    assert list(found.items()) == [("a", PIN), ("a/b", PIN), ("a/b/c", HIDE)]


def test_nothing_is_pinned_where_nothing_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    assert lay_out([Mask(str(tmp_path / "a/b"), "secret", "")], "") == (Cover(str(tmp_path / "a/b"), HIDE),)


def test_hiding_wins_and_beneath_it_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    both = covers(tmp_path, protected(tmp_path, "a"), secret(tmp_path, "a"), protected(tmp_path, "a/b"))
    assert both == {"a": HIDE}
    other = covers(tmp_path, protected(tmp_path, "a"), secret(tmp_path, "a/b"))
    assert other == {"a": READ_ONLY, "a/b": HIDE}


def test_a_secret_that_is_gone_needs_no_mount(tmp_path: Path) -> None:
    assert covers(tmp_path, secret(tmp_path, "gone")) == {}


def test_what_is_protected_and_missing_gets_a_place_and_gives_it_back(tmp_path: Path) -> None:
    masks = [protected(tmp_path, name) for name in (".git/hooks", ".git/config", "one")]
    made = make_placeholders(masks, "")
    assert sorted(os.path.relpath(path, tmp_path) for path in made) == [".git", ".git/config", ".git/hooks", "one"]
    assert covers(tmp_path, *masks) == {
        ".git": PIN,
        ".git/config": READ_ONLY,
        ".git/hooks": READ_ONLY,
        "one": READ_ONLY,
    }
    assert make_placeholders(masks, "") == []
    remove_placeholders(made)
    assert list(tmp_path.iterdir()) == []


def test_a_placeholder_that_somebody_has_filled_stays(tmp_path: Path) -> None:
    made = make_placeholders([protected(tmp_path, "one/two")], "")
    (tmp_path / "one/two/file").touch()
    remove_placeholders(made)
    assert (tmp_path / "one/two/file").exists()


def test_a_file_on_the_way_is_kept_as_it_is(tmp_path: Path) -> None:
    """A work tree of git has a file in the place of its directory; beneath a file nothing can come to be."""
    (tmp_path / ".git").write_text("gitdir: /elsewhere\n")
    mask = protected(tmp_path, ".git/hooks")
    assert make_placeholders([mask], "") == []
    assert covers(tmp_path, mask) == {".git": READ_ONLY}


def test_placeholders_follow_no_link(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    tree.mkdir()
    (tree / "link").symlink_to(outside)
    assert make_placeholders([protected(tree, "link/x/y")], "") == []
    (outside / "empty").mkdir()
    remove_placeholders([str(tree / "link/empty")])
    assert os.listdir(outside) == ["empty"]


def test_a_place_that_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o500)
    with pytest.raises(PermissionError):
        make_placeholders([protected(tmp_path, "one"), protected(tmp_path, "closed/two")], "")
    assert os.listdir(tmp_path) == ["closed"]


def test_the_session_s_own_directory_stands_for_its_variable(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert lay_out([Mask("$TMPDIR/x", "secret", "$TMPDIR")], str(tmp_path)) == (Cover(str(tmp_path / "x"), HIDE),)


def test_mount_points_are_read_from_proc() -> None:
    assert {"/", "/proc"} <= mount_points(os.getpid())
