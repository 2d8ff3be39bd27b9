"""The grant of a path is the nearest above it, looked up or remembered alike; observing leaves out remit's own."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from remit.boundary.observation import trees_around
from remit.kernel.paths import is_inside
from remit.plan import PathGrant
from remit.supervisor.paths import PathTable

names = st.lists(st.sampled_from("abc"), min_size=0, max_size=4).map(lambda parts: "/" + "/".join(parts))
grants = st.lists(st.tuples(names, st.sampled_from(["read", "write"])), max_size=6)


@given(grants, st.lists(names, max_size=20))
def test_look_ups_agree_with_the_definition(granted: list[tuple[str, str]], paths: list[str]) -> None:
    given_by = [PathGrant(path, (access,), f"{number}") for number, (path, access) in enumerate(granted)]
    table = PathTable(given_by, "/tmp/x")
    for path in paths * 2:
        for access in ("read", "write"):
            above = [g for g in given_by if access in g.access and is_inside(path, g.path)]
            nearest = max(above, key=lambda g: (len(g.path), -int(g.clause)), default=None)
            assert table.clause(path, access) == (nearest.clause if nearest else None)


def test_the_temporary_directory_is_the_sessions_own() -> None:
    table = PathTable([PathGrant("$TMPDIR", ("write",), "files.write[1]")], "/tmp/remit-1")
    assert table.clause("/tmp/remit-1/a", "write") == "files.write[1]"
    assert table.clause("/tmp/remit-12/a", "write") is None


def test_the_trees_around_leave_out_what_leads_to_remits_own(tmp_path: Path) -> None:
    for name in ("home/state/remit/sessions", "home/state/other", "home/project", "home/.cache/remit"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "file").write_text("")
    (tmp_path / "home" / "link").symlink_to(tmp_path / "home" / "state" / "remit")
    own = (str(tmp_path / "home/state/remit/sessions"), str(tmp_path / "home/.cache/remit"))
    found = set(trees_around(own))
    below = {Path(path).relative_to(tmp_path).as_posix() for path in found if path.startswith(str(tmp_path))}
    assert below == {"home/file", "home/project", "home/state/other"}
    assert {"/usr", "/proc", "/dev"} <= found
    assert not any(is_inside(place, path) or is_inside(path, place) for path in found for place in own)
