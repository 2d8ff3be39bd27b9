"""Where Landlock has no right for it, no file outside the grants is cut, and programs cut their own as ever."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import SECRET, Inside
from older import older_session


@pytest.fixture(scope="module", params=["normal", "full"])
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A session of Linux 6.1."""
    with older_session(tmp_path_factory, abi=2, sight=request.param) as inside:
        yield inside


def test_files_of_ones_own_are_cut_by_every_name(older: Inside) -> None:
    attempt = older.do("truncates.py", "honest")
    assert attempt.result == {
        "sizes": [6, 4, 1 << 20, 2, 0],
        "missing": errno.ENOENT,
        "directory": errno.EISDIR,
        "pipe": errno.EINVAL,
        "negative": errno.EINVAL,
    }
    assert [record for record in attempt.records if record.get("refused")] == []


def test_a_file_outside_is_not_cut_and_it_is_recorded(older: Inside, outside: Path) -> None:
    attempt = older.do("truncates.py", "cut", outside / "file")
    assert attempt.result.pop("openat2") == attempt.result.pop("openat2 neither") == errno.ENOSYS
    assert attempt.result == dict.fromkeys(attempt.result, errno.EACCES)
    assert (outside / "file").read_text() == SECRET
    assert len(attempt.refusals("change", operation="truncate", path=str(outside / "file"))) == 1
    assert len(attempt.refusals("open", path=str(outside / "file"))) == 5


def test_a_link_that_changes_meanwhile_leads_to_no_cut_outside(older: Inside, outside: Path) -> None:
    assert older.do("truncates.py", "race", outside / "file").result > 0
    assert (outside / "file").read_text() == SECRET


def test_what_a_mask_covers_is_not_cut(tmp_path_factory: pytest.TempPathFactory) -> None:
    scope = "files: {write: [$WORKSPACE, $TMPDIR], protect: [$WORKSPACE/attempt.py]}\n"
    with older_session(tmp_path_factory, abi=2, scope=scope) as inside:
        if not inside.header()["scope"]["files"]["protect"] or "masks" not in {
            wall["name"] for wall in inside.header()["walls"]
        }:
            pytest.skip("there is no mount namespace to be had")
        attempt = inside.do("truncates.py", "cut", inside.workspace / "attempt.py")
        assert attempt.result["truncate"] == errno.EROFS
        assert (inside.workspace / "attempt.py").stat().st_size
