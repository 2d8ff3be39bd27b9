"""What a view holds follows from the grants, and a scope that cannot have one is told where and what instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_compile import HOST, compiled, gaps, home, refused

from remit.boundary.view import Bound, lay_out
from remit.plan import PathGrant
from remit.scope.explain import IN_A_VIEW, WALLS

__all__ = ["home"]  # a fixture
MOUNT = "nested-sandbox: mount\naccept-gaps: [proc-writable, files-by-mounts]\n"


def grant(path: str, *access: str) -> PathGrant:
    return PathGrant(path, access, "files")


def test_each_grant_is_bound_with_the_rights_that_all_around_it_give() -> None:
    bounds = lay_out(
        (grant("/a/b", "read", "write"), grant("/a", "read"), grant("/a/c", "execute", "read"), grant("/d", "read")),
        ("/run/of-an-outsider.sock", "/d/inside.sock"),
        "/nowhere",
    )
    assert bounds == (
        Bound("/a", ("read",)),
        Bound("/a/b", ("read", "write")),
        Bound("/a/c", ("execute", "read")),
        Bound("/d", ("read",)),
        Bound("/run/of-an-outsider.sock", ()),
    )


def test_an_inner_grant_never_has_less_than_the_outer_one() -> None:
    bounds = lay_out((grant("/a", "read", "write"), grant("/a/b", "read"), grant("/a/c", "execute")), (), "/nowhere")
    assert bounds == (Bound("/a", ("read", "write")), Bound("/a/c", ("execute", "read", "write")))


def test_a_plan_with_a_view_says_so_and_has_its_gaps(home: Path) -> None:
    plan = compiled(home, MOUNT)
    assert plan.view
    assert gaps(plan)["files-by-mounts"]
    assert gaps(plan)["proc-writable"]
    assert "device-ioctl" not in {wall.name for wall in plan.walls}
    assert not {"terminals-shared", "shared-memory-shared"} & gaps(plan).keys()
    assert not compiled(home).view
    assert "Landlock" in WALLS["files"]
    assert "Landlock" not in IN_A_VIEW


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ("", {"uid": 0}, "not for root: mount"),
        ("", {"landlock_abi": 3}, "Landlock ABI 3 cannot let files be, this needs 4: mount"),
        ("phases: {tests: {files: {read: [/usr]}}}", {}, "one has files of its own: mount"),
        ("claims: [socket]", {}, "the claims socket is not in a view: mount"),
    ],
)
def test_a_view_that_cannot_be_had_is_refused(home: Path, more: str, changes: dict[str, int], message: str) -> None:
    problem = refused(home, MOUNT + more, host=HOST._replace(**changes))
    assert message in problem.message
    assert (problem.line, problem.column) == (3, 17)
    assert problem.hint


def test_there_is_none_while_observing(home: Path) -> None:
    assert "not while observing: mount" in refused(home, MOUNT, observe=True).message


def test_phases_without_files_are_fine(home: Path) -> None:
    assert compiled(home, MOUNT + "phases: {fetch: {network: {connect: [{cidr: 192.0.2.1, port: 443}]}}}").view
