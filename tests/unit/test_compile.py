"""Scope x host becomes a plan whose every weakness has a name, or an error that says what no wall can express."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from remit.boundary.compile import compile_scope
from remit.boundary.filters import compile_filter
from remit.boundary.host import Host, find_host, host_from_json, host_to_json
from remit.errors import BoundaryError, ScopeError
from remit.plan import Plan, plan_from_json, plan_to_json
from remit.scope.default import default_scope
from remit.scope.parse import parse_scope
from remit.scope.variables import find_places

HOST = Host(landlock_abi=7, seccomp_notify=True, kernel="6.18.0", machine="x86_64", uid=1000)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("home/work", "home/.ssh", "home/.local/state", "home/.cache"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "home"


def compiled(
    home: Path,
    text: str = "",
    *,
    host: Host = HOST,
    workspace: Path | None = None,
    sight: str = "normal",
    observe: bool = False,
    **more: str,
) -> Plan:
    return compile_scope(
        parse_scope(f"remit: 1\ntask: t\n{text}\n".encode(), "scope.yaml"),
        host,
        places=find_places(
            str(workspace or home / "work"), {"HOME": str(home), "USER": "ada", "PATH": "/usr/bin:/bin", **more}
        ),
        outside={"the evidence": str(home / ".local/state/remit"), "the plan cache": str(home / ".cache/remit")},
        hidden={"the notary's key": str(home / ".local/state/remit/notary")},
        sight=sight,
        observe=observe,
    )


def refused(home: Path, text: str, **more: object) -> ScopeError:
    with pytest.raises(ScopeError) as caught:
        compiled(home, text, **more)  # type: ignore[arg-type]
    return caught.value


def access(plan: Plan, path: str) -> set[str]:
    return {a for grant in plan.files if grant.path == path for a in grant.access}


def gaps(plan: Plan) -> dict[str, bool]:
    return {gap.name: gap.accepted for gap in plan.gaps}


def test_the_default_scope_has_no_open_wall_gap(home: Path) -> None:
    plan = compiled(home, default_scope().decode().partition("unnamed\n")[2])
    work = str(home / "work")
    assert access(plan, work) == {"read", "write", "execute"}
    assert access(plan, "$TMPDIR") == {"read", "write", "execute"}
    assert access(plan, "/usr") == {"read", "execute"}
    assert access(plan, "/dev/null") == {"read", "write"}
    assert not any(grant.path == str(home) or str(home).startswith(grant.path + "/") for grant in plan.files)
    assert not any("shadow" in grant.path for grant in plan.files)
    assert [gap.name for gap in plan.gaps if gap.kind == "wall" and not gap.accepted] == []
    assert plan.environment.set["HOME"] == "$TMPDIR/home"
    assert plan.environment.set["TMPDIR"] == "$TMPDIR"
    assert (plan.connect, plan.gpu) == ((), False)
    assert [(grant.cidr, grant.first_port, grant.last_port) for grant in plan.listen] == [
        ("127.0.0.1/32", 0, 0),
        ("::1/128", 0, 0),
    ]
    assert str(home / ".ssh") in plan.secrets


def test_a_plan_is_the_same_bytes_and_survives_json(home: Path) -> None:
    assert plan_to_json(compiled(home)) == plan_to_json(compiled(home))
    assert plan_from_json(plan_to_json(compiled(home))) == compiled(home)


def test_clauses_cite_the_scope(home: Path) -> None:
    plan = compiled(home, "files: {write: [., $TMPDIR]}\nnetwork: {connect: [{cidr: 10.0.0.0/8, port: 80-90}]}")
    clauses = {grant.path: grant.clause for grant in plan.files}
    assert clauses[str(home / "work")] == "files.write[0]"
    assert clauses["/usr"] == "use:base@1"
    (connect,) = plan.connect
    assert (connect.cidr, connect.first_port, connect.last_port) == ("10.0.0.0/8", 80, 90)
    assert connect.clause == "network.connect[0]"


def test_a_listen_grant_without_network_is_both_families(home: Path) -> None:
    plan = compiled(home, "network: {listen: [{port: 8080}]}")
    assert [grant.cidr for grant in plan.listen] == ["0.0.0.0/0", "::/0"]


def test_only_the_workspace_and_the_temporary_directory_run_what_is_written(home: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    plan = compiled(home, f"files: {{write: [$WORKSPACE, {tmp_path}/data]}}")
    assert access(plan, str(tmp_path / "data")) == {"read", "write"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files: {write: [~]}", "never granted whole"),
        ("files: {read: [/]}", "never granted whole"),
        ("files: {read: [$HOME/..]}", "never granted whole"),
        ("files: {write: [~/missing]}", "does not exist"),
        ("files: {write: [/proc]}", "cannot be granted for writing"),
        ("files: {write: [/sys/kernel]}", "cannot be granted for writing"),
        ("files: {write: [/dev]}", "devices that devices.gpu withholds"),
        ("files: {write: [~/.cache]}", "the agent could write into the plan cache"),
        ("files: {write: [~/.local/state]}", "the agent could write into the evidence"),
        ("files: {read: [~/.local]}", "the agent could read the notary's key"),
        ("files: {execute: [~/.local/state]}", "the agent could read the notary's key"),
        ("files: {read: [~/.ssh/id], secrets: [~/.ssh]}", "lies inside a secret"),
        ("files: {write: [$NOPE]}", "unknown variable"),
        ("environment: {set: {A: $NOPE}}", "unknown variable"),
        ("network: {connect: [{cidr: ::1, port: 0}]}", "port 0"),
        ("devices: {gpu: all}\ncompute: {gpu: 0}", "withholds"),
    ],
)
def test_what_no_wall_can_express_is_refused(home: Path, text: str, message: str) -> None:
    (home / ".ssh" / "id").touch()
    problem = refused(home, text)
    assert message in problem.message
    assert problem.hint
    assert problem.line is not None


def test_a_link_planted_in_the_workspace_grants_nothing(home: Path) -> None:
    (home / "work" / "out").symlink_to(home / ".ssh")
    assert "a link leads out of the workspace" in refused(home, "files: {write: [out]}").message


def test_what_a_link_points_at_is_safe_to_print(home: Path) -> None:
    odd = home / "a\x1b[2Jb"
    odd.mkdir()
    (home / "work" / "out").symlink_to(odd)
    assert refused(home, "files: {write: [out]}").message.isprintable()


def test_a_writable_tree_inside_the_evidence_is_refused(home: Path) -> None:
    inside = home / ".local/state/remit/sessions"
    inside.mkdir(parents=True)
    assert "could write into the evidence" in refused(home, f"files: {{write: [{inside}]}}").message


@pytest.mark.parametrize("where", ["home", "/", "above"])
def test_the_workspace_is_no_home(home: Path, where: str) -> None:
    workspace = {"home": home, "/": Path("/"), "above": home.parent}[where]
    problem = refused(home, "", workspace=workspace)
    assert "a directory of its own" in problem.message
    assert problem.hint


@pytest.mark.parametrize("where", ["/tmp", "/var/tmp", "/dev/shm"])
def test_the_workspace_is_no_place_that_sessions_share(home: Path, where: str) -> None:
    with pytest.raises(ScopeError, match="where others keep theirs"):
        compiled(home, workspace=Path(where))


def test_where_no_socket_can_be_taken_each_is_made_and_none_for_datagrams(home: Path) -> None:
    text = "use: [base]\nnetwork: {udp: [{cidr: 192.0.2.1, port: 53}]}"
    container = HOST._replace(take_descriptors=False)
    plan = compiled(home, text, host=container)
    assert plan.make_sockets
    assert "sockets-not-taken" in gaps(plan)
    assert plan.seccomp == compile_filter("x86_64", make_sockets=True)
    assert not compiled(home, text).make_sockets


def test_a_missing_read_grant_is_a_sight_gap(home: Path) -> None:
    plan = compiled(home, "files: {read: [~/nothing]}")
    (gap,) = (gap for gap in plan.gaps if gap.name == "grant-missing")
    assert gap.kind == "sight"
    assert str(home / "nothing") in gap.reason


def test_a_secret_inside_a_granted_tree_is_a_gap_until_accepted(home: Path) -> None:
    (home / "work" / "key").touch()
    text = "files: {write: [$WORKSPACE], secrets: [key]}"
    assert gaps(compiled(home, text))["secret-inside-grant"] is False
    assert gaps(compiled(home, text + "\naccept-gaps: [secret-inside-grant]"))["secret-inside-grant"] is True
    assert "secret-inside-grant" not in gaps(compiled(home, "files: {write: [$WORKSPACE], secrets: [~/.ssh]}"))


def test_a_protected_path_inside_a_writable_tree_is_a_gap_existing_or_not(home: Path) -> None:
    assert gaps(compiled(home, "files: {write: [.], protect: [.git/hooks]}"))["protected-inside-grant"] is False
    assert "protected-inside-grant" not in gaps(compiled(home, "files: {write: [.], protect: [~/.bashrc]}"))


def test_udp_is_granted_by_address_and_changes_the_filter(home: Path) -> None:
    plan = compiled(home, "network: {udp: [{cidr: 192.0.2.53, port: 53}]}")
    assert [(grant.cidr, grant.first_port, grant.clause) for grant in plan.udp] == [
        ("192.0.2.53/32", 53, "network.udp[0]")
    ]
    assert plan.seccomp != compiled(home).seccomp
    assert "whose a UDP port is" in refused(home, "network: {udp: [{cidr: self, port: 53}]}").message
    assert "port 0" in refused(home, "network: {udp: [{cidr: 192.0.2.53, port: 0}]}").message


def test_self_is_loopback_of_both_families_and_only_for_connect_the_sessions_own(home: Path) -> None:
    plan = compiled(home, "network: {connect: [{cidr: self, port: 80}], listen: [{cidr: self, port: 80}]}")
    assert [(grant.cidr, grant.own) for grant in plan.connect] == [("127.0.0.0/8", True), ("::1/128", True)]
    assert [(grant.cidr, grant.own) for grant in plan.listen] == [("127.0.0.0/8", False), ("::1/128", False)]


MASKING = HOST._replace(mount_masks=True)


def test_where_mounts_can_be_had_they_close_both_gaps(home: Path) -> None:
    work = home / "work"
    (work / ".env").touch()
    plan = compiled(home, "files: {write: [.], secrets: [.env, ~/.ssh], protect: [a/b, ~/.bashrc]}", host=MASKING)
    assert [(mask.path, mask.kind, mask.root) for mask in plan.masks if not mask.path.startswith("/dev/")] == [
        (str(work / ".env"), "secret", str(work)),
        (str(work / "a/b"), "protected", str(work)),
    ]
    assert not gaps(plan).keys() & {"secret-inside-grant", "protected-inside-grant"}
    assert "masks" in {wall.name for wall in plan.walls}
    assert plan_from_json(plan_to_json(plan)) == plan
    plain = compiled(home, "files: {write: [.]}", host=MASKING)
    assert plain.masks == ()
    assert "masks" not in {wall.name for wall in plain.walls}


def test_a_parent_is_pinned_up_to_the_widest_writable_tree(home: Path) -> None:
    (home / "work/a/b").mkdir(parents=True)
    (home / "work/a/b/key").touch()
    *_, mask = compiled(home, "files: {write: [a/b, .], secrets: [a/b/key]}", host=MASKING).masks
    assert mask.root == str(home / "work")
    *_, mask = compiled(home, "files: {write: [], read: [.], secrets: [a/b/key]}", host=MASKING).masks
    assert mask.root == ""  # nothing can be moved where nothing can be written


def test_where_there_are_mounts_terminals_and_shared_memory_are_the_sessions_own(home: Path) -> None:
    (home / "work/.env").touch()
    masking = "use: [base, python]\nfiles: {write: [.], secrets: [.env]}"
    plan = compiled(home, masking, host=MASKING)
    assert {(mask.path, mask.kind) for mask in plan.masks} >= {("/dev/pts", "terminals"), ("/dev/shm", "memory")}
    assert not gaps(plan).keys() & {"terminals-shared", "shared-memory-shared"}
    # Who grants it by name wants what others have there.
    plan = compiled(home, masking.replace("[.]", "[., /dev/shm]"), host=MASKING)
    assert "/dev/shm" not in {mask.path for mask in plan.masks}
    assert "shared-memory-shared" in gaps(plan)


def test_what_no_mount_can_cover_stays_a_gap(home: Path) -> None:
    work = home / "work"
    (work / "key").touch()
    (work / "second").hardlink_to(work / "key")
    assert "secret-inside-grant" in gaps(compiled(home, "files: {write: [.], secrets: [key]}", host=MASKING))
    # The link lies in the workspace and can be replaced; what it means now lies outside.
    (work / ".git").symlink_to(home / ".ssh")
    plan = compiled(home, "files: {write: [.], protect: [.git/hooks]}", host=MASKING)
    (gap,) = (gap for gap in plan.gaps if gap.name == "protected-inside-grant")
    assert str(work / ".git") in gap.reason


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        (7, set()),
        (6, set()),
        (5, {"abstract-sockets-unwalled"}),
        (4, {"abstract-sockets-unwalled", "device-ioctl-unwalled"}),
        (3, {"abstract-sockets-unwalled", "device-ioctl-unwalled", "network-unwalled"}),
        (0, {"abstract-sockets-unwalled", "files-unwalled", "network-unwalled"}),
    ],
)
def test_what_an_older_kernel_lacks_is_named(home: Path, abi: int, expected: set[str]) -> None:
    plan = compiled(home, host=HOST._replace(landlock_abi=abi))
    assert {gap.name for gap in plan.gaps if gap.kind == "wall" and not gap.accepted} == expected
    assert plan.landlock_abi == abi
    walls = {wall.name: wall.strength for wall in plan.walls}
    assert ("files" in walls) == (abi > 0)
    assert walls["signals"] == ("kernel" if abi >= 6 else "supervisor")
    assert (plan.seccomp == compiled(home).seccomp) == (abi >= 6)


def test_abi_1_lacks_refer(home: Path) -> None:
    assert "refer-unwalled" in set(gaps(compiled(home, host=HOST._replace(landlock_abi=1))))
    assert "refer-unwalled" not in gaps(compiled(home, host=HOST._replace(landlock_abi=2)))


def test_gaps_that_every_plan_has(home: Path) -> None:
    assert gaps(compiled(home))["proc-readable"] is True  # accepted by the preset base, by name
    assert "metadata-unwalled" not in gaps(compiled(home, "use: []"))  # the supervisor walls it on every host
    assert "reads-unseen" in gaps(compiled(home))


def test_budgets_are_walls_that_are_polled(home: Path) -> None:
    plan = compiled(home, "compute: {cpu: 1m, memory: 1GiB, wall: 1h}\nprocesses: {at-most: 9}")
    strengths = {wall.name: wall.strength for wall in plan.walls}
    assert (strengths["cpu"], strengths["memory"], strengths["wall-time"]) == ("polled",) * 3
    assert strengths["processes"] == "supervisor"
    assert (plan.limits.cpu, plan.limits.memory, plan.limits.wall, plan.limits.processes) == (60, 2**30, 3600, 9)


def test_the_authors_own_line_wins_over_a_presets(home: Path) -> None:
    assert "HOME" in compiled(home, "environment: {pass: [HOME]}").environment.keep
    assert "HOME" not in compiled(home, "environment: {pass: [HOME]}").environment.set
    assert compiled(home, "environment: {set: {HOME: $WORKSPACE}}").environment.set["HOME"] == str(home / "work")
    assert compiled(home, "use: []").environment.keep == ()


def test_a_home_on_path_is_not_granted(home: Path) -> None:
    plan = compiled(home, PATH=f"{home}:/:/usr/bin")
    assert not any(grant.path in (str(home), "/") for grant in plan.files)


def test_a_secret_on_path_is_not_granted(home: Path) -> None:
    (home / ".ssh" / "bin").mkdir()
    plan = compiled(home, "files: {secrets: [~/.ssh]}", PATH=f"{home}/.ssh/bin:/usr/bin")
    assert not any(".ssh" in grant.path for grant in plan.files)


def test_the_filter_is_for_the_machine(home: Path) -> None:
    assert len(base64.b64decode(compiled(home).seccomp)) % 8 == 0
    arm = compiled(home, host=HOST._replace(machine="aarch64"))
    assert arm.seccomp != compiled(home).seccomp


def test_a_host_without_notification_runs_nothing(home: Path) -> None:
    with pytest.raises(BoundaryError, match="user notification"):
        compiled(home, host=HOST._replace(seccomp_notify=False))


def test_hosts_are_data() -> None:
    host = find_host()
    assert host_from_json(host_to_json(host)) == host
    with pytest.raises(ValueError, match="shape"):
        host_from_json('{"kernel": "6"}')


def test_full_sight_has_another_filter_and_one_gap_less(home: Path) -> None:
    normal, full = compiled(home), compiled(home, sight="full")
    assert (normal.sight, full.sight, full.observe) == ("normal", "full", False)
    assert normal.seccomp != full.seccomp
    assert gaps(normal).keys() - gaps(full).keys() == {"reads-unseen"}
    assert normal.walls == full.walls


def test_observing_needs_full_sight_and_holds_no_wall_that_hangs_on_grants(home: Path) -> None:
    plan = compiled(home, "files: {write: [.], secrets: [./key]}\nprocesses: {at-most: 9}", observe=True)
    assert (plan.sight, plan.observe) == ("full", True)
    assert {wall.name for wall in plan.walls if not wall.held} >= {"files", "tcp", "addresses", "processes"}
    assert {wall.name for wall in plan.walls if wall.held} >= {"signals", "system-calls", "privileges", "images"}
    assert set(plan.outside) == {str(home / ".local/state/remit"), str(home / ".cache/remit")}
    assert plan_from_json(plan_to_json(plan)) == plan
    root = compiled(home, "files: {write: [.]}", host=HOST._replace(uid=0), observe=True)
    assert set(root.outside) - set(plan.outside) == {"/proc", "/sys"}


def test_recording_what_no_grant_covers_is_for_observing_only(home: Path) -> None:
    problem = refused(home, "otherwise: record")
    assert "only while observing" in problem.message
    assert problem.line == 3
    assert compiled(home, "otherwise: record", observe=True).observe
