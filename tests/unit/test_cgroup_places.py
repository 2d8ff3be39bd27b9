"""Where a session's cgroups would be made, on hosts unlike this one, and what a plan then says of them.

The trees are plain directories: this is about reading and choosing. What cgroups do is tested with real ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remit.boundary import cgroups, host
from remit.boundary.cgroups import MEMORY, PIDS, UNIFIED
from remit.boundary.host import Host
from remit.boundary.masks import NO_MASKS
from remit.boundary.strength import cgroup_limits, find_walls
from remit.doctor import machine
from remit.kernel import cgroup, proc
from remit.kernel.cgroup import Cgroup
from remit.plan import CgroupLimits, Limits

ROOT_ONLY = pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
V2 = "30 25 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def pretend(monkeypatch: pytest.MonkeyPatch, mountinfo: str, own: str) -> None:
    """What /proc/self says of mounts and cgroups."""
    said = {"/proc/self/mountinfo": mountinfo.encode(), "/proc/self/cgroup": own.encode()}
    monkeypatch.setattr(proc, "_read", said.__getitem__)


def found() -> list[tuple[int, tuple[str, ...], str]]:
    return [(own.version, own.controllers, own.directory) for own in proc.own_cgroups(proc.cgroup_mounts())]


def v2_directory(
    path: Path, *, controllers: str = "", handed_down: str = "", members: str = "", kind: str = "domain"
) -> Path:
    path.mkdir()
    (path / "cgroup.procs").write_text(members)
    (path / "cgroup.type").write_text(f"{kind}\n")
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(handed_down)
    return path


def test_a_v2_host(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "24 1 8:1 / / rw - ext4 /dev/a rw\n" + V2.format("/sys/fs/cgroup"), "0::/user.slice/a.scope\n")
    assert found() == [(2, (), "/sys/fs/cgroup/user.slice/a.scope")]


def test_v1_and_v2_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = (
        "31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    ) + V2.format("/sys/fs/cgroup/unified")
    pretend(monkeypatch, mounts, "4:cpu,cpuacct:/x\n3:pids:/y\n1:name=systemd:/\n0::/\n")
    assert found() == [
        (1, ("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/x"),
        (1, ("name=systemd",), "/sys/fs/cgroup/systemd"),
        (2, (), "/sys/fs/cgroup/unified"),
    ]


def test_a_mount_that_shows_a_part_of_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = "40 25 0:26 /docker/a\\040b /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    pretend(monkeypatch, mount, "0::/docker/a b/inner\n")
    assert found() == [(2, (), "/sys/fs/cgroup/inner")]
    pretend(monkeypatch, mount, "0::/docker/a bc\n")
    assert found() == []


def test_who_is_outside_of_what_its_namespace_shows_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, V2.format("/sys/fs/cgroup"), "0::/../other\n")
    assert found() == []


def test_cgroups_that_are_mounted_elsewhere_too_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A scope may grant writing there, and then the agent would be held by nothing."""
    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path))
    v2_directory(tmp_path / "own", controllers="memory pids", handed_down="memory pids")
    pretend(monkeypatch, V2.format(tmp_path), "0::/own\n")
    assert set(cgroups._places()) == {UNIFIED, MEMORY, PIDS}
    pretend(monkeypatch, V2.format(tmp_path) + V2.format("/srv/cgroups"), "0::/own\n")
    assert cgroups._places() == {}


def places(monkeypatch: pytest.MonkeyPatch, mount: Path, own: str) -> dict[str, str]:
    monkeypatch.setattr(cgroup, "ROOT", str(mount))
    pretend(monkeypatch, V2.format(mount), f"0::{own}\n")
    return {use: place.path for use, place in cgroups._places().items()}


def test_a_controller_is_turned_on_where_that_can_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = v2_directory(tmp_path / "own", controllers="cpu memory pids", handed_down="cpu")
    assert places(monkeypatch, tmp_path, "/own") == {UNIFIED: str(own), MEMORY: str(own), PIDS: str(own)}
    assert (own / "cgroup.subtree_control").read_text().startswith("+")


def test_none_is_turned_on_where_processes_are_for_pids_would_make_that_one_threaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = v2_directory(tmp_path / "own", controllers="memory pids", members="17\n")
    assert places(monkeypatch, tmp_path, "/own") == {UNIFIED: str(own)}
    assert (own / "cgroup.subtree_control").read_text() == ""
    (own / "cgroup.type").unlink()  # the root may have both
    assert set(places(monkeypatch, tmp_path, "/own")) == {UNIFIED, MEMORY, PIDS}


@pytest.mark.parametrize("kind", ["domain threaded", "threaded", "domain invalid"])
def test_nor_is_one_made_among_threaded_ones(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    v2_directory(tmp_path / "own", controllers="memory pids", handed_down="memory pids", kind=kind)
    assert places(monkeypatch, tmp_path, "/own") == {}


def test_beside_a_cgroup_that_hands_nothing_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a scope unit of a user's systemd: it has processes, so it may hand down nothing, and its slice does."""
    (tmp_path / "top").mkdir()
    beside = v2_directory(tmp_path / "top" / "slice", controllers="memory pids", handed_down="memory pids")
    own = v2_directory(beside / "a.scope")
    assert places(monkeypatch, tmp_path, "/top/slice/a.scope") == dict.fromkeys((UNIFIED, MEMORY, PIDS), str(beside))
    (own / "memory.max").write_text("max\n")
    assert places(monkeypatch, tmp_path, "/top/slice/a.scope")[MEMORY] == str(beside)
    # What holds the caller holds its sessions.
    (own / "memory.max").write_text("1073741824\n")
    assert places(monkeypatch, tmp_path, "/top/slice/a.scope") == {UNIFIED: str(own)}


def test_never_above_the_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mount = v2_directory(tmp_path / "mount")
    (tmp_path / "cgroup.procs").touch()
    assert places(monkeypatch, mount, "/") == {UNIFIED: str(mount)}


@ROOT_ONLY
def test_where_nothing_may_be_written_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = v2_directory(tmp_path / "own", controllers="memory")
    pretend(monkeypatch, V2.format(tmp_path), "0::/own\n")
    for path in (own, tmp_path):
        path.chmod(0o555)
    monkeypatch.setattr(cgroups, "what_can_be_had", lambda: pytest.fail("nothing was to be tried"))
    assert host._cgroups() == frozenset()
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("failing", [FileNotFoundError, PermissionError])
def test_without_proc_there_is_none(failing: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str) -> bytes:
        raise failing(path)

    monkeypatch.setattr(proc, "_read", read)
    assert host._cgroups() == frozenset()


def test_limits_are_written_and_what_they_did_is_read(tmp_path: Path) -> None:
    (one := tmp_path / "v1").mkdir()
    (two := tmp_path / "v2").mkdir()
    for path in (one / "memory.limit_in_bytes", two / "memory.max", two / "memory.swap.max"):
        path.touch()
    for version, path in ((1, one), (2, two)):
        (path / "pids.max").touch()
        (path / "pids.events").write_text("max 7\n")
        cgroup.limit_memory(Cgroup(version, str(path)), 4096)
        cgroup.limit_tasks(Cgroup(version, str(path)), 12)
        assert (path / "pids.max").read_text() == "12"
        assert cgroup.tasks_refused(Cgroup(version, str(path))) == 7
    assert (one / "memory.limit_in_bytes").read_text() == (two / "memory.max").read_text() == "4096"
    assert (two / "memory.swap.max").read_text() == "0"


@pytest.mark.parametrize(("oom", "ran_out"), [(0, False), (1, True)])
def test_v2_says_whose_limit_it_was(oom: int, ran_out: bool, tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom {oom}\noom_kill 3\n")
    assert cgroup.ran_out_of_memory(Cgroup(2, str(tmp_path))) is ran_out


@pytest.mark.parametrize(
    ("killed", "most_used", "ran_out"), [(0, 1 << 20, False), (1, 1 << 20, True), (1, 1 << 18, False)]
)
def test_on_v1_a_kill_for_want_of_memory_elsewhere_is_not_counted(
    killed: int, most_used: int, ran_out: bool, tmp_path: Path
) -> None:
    (tmp_path / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {killed}\n")
    (tmp_path / "memory.limit_in_bytes").write_text(f"{1 << 20}\n")
    (tmp_path / "memory.max_usage_in_bytes").write_text(f"{most_used}\n")
    assert cgroup.ran_out_of_memory(Cgroup(1, str(tmp_path))) is ran_out


BARE = Host(landlock_abi=7, seccomp_notify=True, kernel="6.18.0", machine="x86_64", uid=1000)
FULL = BARE._replace(cgroup=True, cgroup_freezer=True, cgroup_memory=True, cgroup_pids=True)
LIMITS = Limits(processes=10, memory=1 << 30)


def strengths(where: Host, *, observe: bool = False) -> dict[str, tuple[str, bool]]:
    walls = find_walls(where, LIMITS, NO_MASKS, observe=observe)
    return {wall.name: (wall.strength, wall.held) for wall in walls if wall.name in ("memory", "tasks", "processes")}


def test_a_plan_says_what_the_kernel_holds_and_what_is_sampled() -> None:
    counted = {"processes": ("supervisor", True)}
    polled, held, tasks = ("polled", True), ("kernel", True), {"tasks": ("kernel", True)}
    assert strengths(BARE) == {**counted, "memory": polled}
    assert strengths(FULL) == {**counted, **tasks, "memory": held}
    assert strengths(FULL._replace(cgroup_memory=False)) == {**counted, **tasks, "memory": polled}
    assert strengths(FULL._replace(cgroup_pids=False)) == {**counted, "memory": held}
    # Without Landlock its owner, who may be the agent, could write to it.
    assert strengths(FULL._replace(landlock_abi=0)) == {**counted, "memory": polled}


def test_what_a_plan_has_the_kernel_hold() -> None:
    assert cgroup_limits(BARE, LIMITS) is None
    assert cgroup_limits(FULL, LIMITS) == CgroupLimits(memory=1 << 30, tasks=640)
    assert cgroup_limits(FULL, Limits()) == CgroupLimits()
    assert cgroup_limits(FULL._replace(cgroup_memory=False), LIMITS) == CgroupLimits(tasks=640)
    assert cgroup_limits(FULL._replace(landlock_abi=0), LIMITS) is None


def test_while_observing_nothing_is_held() -> None:
    assert cgroup_limits(FULL, LIMITS, observe=True) == CgroupLimits()
    assert {held for _, held in strengths(FULL, observe=True).values()} == {False}


def test_the_doctor_says_what_is_missing_and_how_to_get_it() -> None:
    assert [ability.present for ability in machine._cgroups(FULL)] == [True, True, True]
    missing = machine._cgroups(BARE)
    assert [ability.present for ability in missing] == [False, False, False]
    assert all("Delegate=yes" in ability.hint and ability.costs for ability in missing)
    partly = {ability.name: ability for ability in machine._cgroups(FULL._replace(cgroup_memory=False))}
    assert not partly["cgroup: memory"].present
    assert "controller" in partly["cgroup: memory"].detail
    assert partly["cgroup: tasks"].present
    assert not any(ability.present for ability in machine._cgroups(FULL._replace(landlock_abi=0)))
