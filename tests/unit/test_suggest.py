"""A suggestion grants what was used and what a person would sign; the rest is a comment, whatever its name is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.plan import PathGrant
from remit.scope.model import Scope
from remit.scope.parse import parse_scope
from remit.scope.suggest import suggest_scope
from remit.scope.suggest_paths import few_trees, is_inside, is_wide
from remit.uses import Session, Use

HOME = "/home/ada"
EVIDENCE = f"{HOME}/.local/state/remit"
SESSION = Session(
    session="s1", task="a-task", purpose="For a test.", workspace=f"{HOME}/work", home=HOME,
    temporary_directory="/tmp/remit-s1", observed=True, scope={"files": {"secrets": [f"{HOME}/.ssh"]}},
)  # fmt: skip
PRESETS = {
    "base": (
        PathGrant("/usr", ("execute", "read"), "use:base@1"),
        PathGrant("/dev/null", ("read", "write"), "use:base@1"),
    ),
    "git": (PathGrant(f"{HOME}/.gitconfig", ("read",), "use:git@1"),),
    "python": (PathGrant("/dev/shm", ("read", "write"), "use:python@1"),),
    "node": (),
}


def use(kind: str, subject: str, port: int = 0, **members: Any) -> Use:
    return Use(kind, subject, port, **{"count": 1, "programs": ("tool",), "steps": ("call_1",), **members})


def text_for(*uses: Use, exists: Any = lambda path: True, **members: Any) -> str:
    session = replace(SESSION, uses=uses, **members)
    text = suggest_scope(session, PRESETS, exists, withheld=(EVIDENCE,))
    assert text == suggest_scope(session, PRESETS, exists, withheld=(EVIDENCE,))
    return text


def suggested(*uses: Use, **members: Any) -> Scope:
    return parse_scope(text_for(*uses, **members).encode(), "suggested.yaml").scope


def comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("#"))


def test_nothing_used_nothing_granted() -> None:
    scope = suggested()
    assert "- $TMPDIR    # not used, but TMPDIR and HOME are there" in re.sub(" +#", "    #", text_for())
    assert (scope.task, scope.purpose, scope.use) == ("a-task", "For a test.", ["base"])
    # But for what TMPDIR and HOME lead to, without which mktemp fails.
    assert (scope.files.write, scope.files.read, scope.files.execute) == (["$TMPDIR"], [], [])
    assert scope.files.secrets == ["~/.ssh"]
    assert (scope.network.connect, scope.network.listen, scope.network.unix) == ([], [], [])


def test_workspace_and_temporary_files_are_granted_as_they_were_used() -> None:
    read = suggested(use("read", f"{HOME}/work/a"), use("read", "/tmp/remit-s1/home"))
    assert (read.files.write, read.files.read) == (["$TMPDIR"], ["$WORKSPACE"])
    both = suggested(use("read", f"{HOME}/work/a"), use("change", f"{HOME}/work"), use("write", "/tmp/remit-s1/x"))
    assert (both.files.write, both.files.read) == (["$WORKSPACE", "$TMPDIR"], [])


def test_presets_cover_what_they_grant_and_come_with_their_programs() -> None:
    reads = (use("read", "/usr/include/stdio.h"), use("write", "/dev/null"), use("read", f"{HOME}/.gitconfig"))
    with_git = suggested(*reads, use("write", "/dev/shm/sem"), programs=("/usr/bin/git", "/usr/bin/python3.11"))
    assert with_git.use == ["base", "git", "python"]
    assert (with_git.files.read, with_git.files.write) == ([], ["$TMPDIR"])
    without = suggested(*reads, programs=("/usr/bin/gitk", "/usr/bin/pipewire"))
    assert (without.use, without.files.read) == (["base"], ["~/.gitconfig"])


def test_few_files_are_named_and_many_become_their_directory() -> None:
    assert suggested(*(use("read", f"/srv/data/{n}") for n in "ab")).files.read == ["/srv/data/a", "/srv/data/b"]
    assert suggested(*(use("read", f"/srv/data/{n}") for n in "abc")).files.read == ["/srv/data"]
    assert suggested(*(use("read", f"/srv/data/{n}/x") for n in "abc")).files.read == ["/srv/data"]
    # Not the home, not /srv: too wide, however many lie there.
    assert suggested(*(use("read", f"{HOME}/{n}") for n in "abc")).files.read == ["~/a", "~/b", "~/c"]
    assert suggested(*(use("read", f"/srv/{n}") for n in "abc")).files.read == ["/srv/a", "/srv/b", "/srv/c"]


def test_a_new_name_needs_its_directory_and_a_write_covers_a_read() -> None:
    scope = suggested(use("change", "/srv/out/now"), use("read", "/srv/out/now/x"), use("execute", "/srv/bin/tool"))
    assert (scope.files.write, scope.files.read, scope.files.execute) == (
        ["$TMPDIR", "/srv/out/now"],
        [],
        ["/srv/bin/tool"],
    )


@pytest.mark.parametrize(
    ("reached", "why"),
    [
        (use("read", f"{HOME}/.ssh/id_rsa", secret=True), "a secret: read ~/.ssh/id_rsa"),
        (use("write", f"{HOME}/.netrc", secret=True), "a secret: write ~/.netrc"),
        (use("read", HOME), f"not granted whole: read {HOME}"),
        (use("change", "/tmp"), "not granted whole: change /tmp"),
        (use("read", "/"), "not granted whole: read /"),
        (use("write", "/proc/sys/vm/x"), "not granted for writing: write /proc/sys/vm/x"),
        (use("write", "/dev/sda"), "not granted for writing: write /dev/sda"),
        (use("read", f"{EVIDENCE}/sessions/s0/segment-000001.jsonl"), "remit's own: read"),
        (use("read", "/srv/a*"), "cannot be written in a scope: read /srv/a*"),
        (use("write", "/srv/x", refused=True), "refused: write /srv/x"),
        (use("connect", "10.0.0.1", 22, refused=True), "refused: connect 10.0.0.1:22"),
        (use("call", "bpf", refused=True), "refused: bpf"),
    ],
)
def test_what_is_not_granted_is_said(reached: Use, why: str) -> None:
    text = text_for(reached)
    assert f"#   {why}" in text
    scope = parse_scope(text.encode()).scope
    assert (scope.files.write, scope.files.read, scope.network.connect) == (["$TMPDIR"], [], [])


def test_a_secret_closes_the_directory_around_it() -> None:
    key = use("read", f"{HOME}/project/.npmrc", secret=True)
    scope = suggested(key, *(use("read", f"{HOME}/project/{n}") for n in "abc"))
    assert scope.files.read == ["~/project/a", "~/project/b", "~/project/c"]


def test_what_is_gone_cannot_be_granted() -> None:
    text = text_for(use("change", "/srv/gone"), exists=lambda path: path != "/srv/gone")
    assert "#   not there any more: change /srv/gone" in text
    assert parse_scope(text.encode()).scope.files.write == ["$TMPDIR"]


def test_peers_and_ports() -> None:
    scope = suggested(*(use("connect", "10.1.2.3", port) for port in (80, 443, 8000, 8001, 8002)))
    assert [(g.cidr, g.port) for g in scope.network.connect] == [
        ("10.1.2.3/32", (80, 80)), ("10.1.2.3/32", (443, 443)), ("10.1.2.3/32", (8000, 8002)),
    ]  # fmt: skip
    many = suggested(*(use("connect", "::ffff:10.0.0.1", port) for port in range(1000, 1020, 2)))
    assert [(g.cidr, g.port) for g in many.network.connect] == [("10.0.0.1/32", (1000, 1018))]


def test_a_port_that_was_given_will_be_another_next_time() -> None:
    served = (use("bind", "127.0.0.1", 0), use("listen", "127.0.0.1", 40123), use("connect", "127.0.0.1", 40123))
    scope = suggested(*served, use("connect", "127.0.0.1", 8080))
    assert [g.port for g in scope.network.listen] == [(0, 0), (32768, 60999)]
    assert [g.port for g in scope.network.connect] == [(8080, 8080), (32768, 60999)]
    assert [g.port for g in suggested(use("connect", "127.0.0.1", 40123)).network.connect] == [(40123, 40123)]


def test_budgets_have_room_and_are_round() -> None:
    scope = suggested(processes=70, cpu=250.0, memory=3 * 2**30, wall=1500.0)
    assert scope.processes.at_most == 256
    assert (scope.compute.cpu, scope.compute.memory, scope.compute.wall) == (1200.0, 16 * 2**30, 7200.0)
    assert suggested().compute.memory is None


def test_devices_sockets_and_the_old_scopes_own_lines() -> None:
    old = {"environment": {"pass": ["FOO"], "set": {}}, "respond": {"crypto-mining": "kill"}, "accept-gaps": []}
    scope = suggested(use("gpu", "/dev/nvidia0"), use("unix", "/run/x.sock"), scope=old)
    assert (scope.devices.gpu, scope.network.unix) == ("all", ["/run/x.sock"])
    assert (scope.environment.pass_, scope.respond) == (["FOO"], {"crypto-mining": "kill"})


def test_findings_are_not_passed_over() -> None:
    assert "THE SESSION HAS FINDINGS: crypto-mining" in comments(text_for(findings=("crypto-mining",)))


words = st.text(max_size=30)


@given(words, words, words, st.sampled_from(["read", "write", "change", "execute", "unix", "call"]), st.booleans())
def test_no_name_breaks_out_of_its_place(name: str, program: str, step: str, kind: str, refused: bool) -> None:
    path = "/srv/" + name
    reached = use(kind, path, refused=refused, programs=(program,), steps=(step,))
    scope = suggested(reached, task=name.strip() if name.isprintable() and name.strip() else "t")
    assert scope.remit == 1
    granted = [*scope.files.read, *scope.files.write[1:], *scope.files.execute, *scope.network.unix]
    assert granted in ([], [path], [path.rstrip("/")])


paths = st.lists(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(lambda p: "/srv/" + "/".join(p)), min_size=1
)


@given(paths, paths)
def test_trees_cover_every_path_once_and_nothing_closed(used: list[str], closed: list[str]) -> None:
    trees = few_trees(used, home=HOME, closed=closed)
    for path in used:
        assert sum(is_inside(path, tree.path) for tree in trees) == 1
    for tree in trees:
        assert tree.path in used or not any(is_inside(path, tree.path) for path in closed)
        assert tree.path in used or not is_wide(tree.path, HOME)
