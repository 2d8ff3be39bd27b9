"""No right, no scope and no layer of Landlock is there for nothing: without it, an attempt comes out open."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from proving import prove

from remit.attempts.attempt import HELD, OPEN, Attempt, Result, judge, perform
from remit.attempts.catalogue import BY_NAME
from remit.attempts.quick import BEFORE_FILTER
from remit.boundary import apply
from remit.doctor.outsiders import Outsiders
from remit.kernel import landlock
from remit.plan import Plan

FILES = {
    "EXECUTE": ("run-readable",),
    "WRITE_FILE": ("write-by-descriptor", "write-by-root", "evidence-write"),
    "READ_FILE": ("read",),
    "READ_DIR": ("list",),
    "REMOVE_DIR": ("remove-directory",),
    "REMOVE_FILE": ("remove",),
    "MAKE_CHAR": ("make-character-device",),
    "MAKE_DIR": ("make-directory",),
    "MAKE_REG": ("make-file",),
    "MAKE_SOCK": ("make-socket",),
    "MAKE_FIFO": ("make-pipe",),
    "MAKE_BLOCK": ("make-block-device",),
    "MAKE_SYM": ("make-link",),
    "TRUNCATE": ("truncate",),
    "IOCTL_DEV": ("device-ioctl",),
}
NETWORK = {"CONNECT_TCP": ("connect-directly",), "BIND_TCP": ("bind-directly",)}
SCOPES = {"SCOPE_SIGNAL": ("signal-neighbour",), "SCOPE_ABSTRACT_UNIX_SOCKET": ("unix-abstract",)}
ALL = {**BY_NAME, **{attempt.name: attempt for attempt in BEFORE_FILTER}}


@dataclass(frozen=True)
class Domain:
    """A process that is beneath the agent's Landlock layer and nothing else, for each attempt anew."""

    plan: Plan
    outsiders: Outsiders
    directory: Path

    def attempt(self, attempt: Attempt, without: Callable[[], None]) -> Result:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.chdir(self.directory)
            landlock.set_no_new_privileges()
            without()
            apply.restrict_agent_layer(self.plan, str(self.directory))
            outside = self.outsiders.outside.but(evidence=str(self.directory.parent / "evidence"))
            result = judge(attempt, perform(attempt, outside))
            os.write(writer, json.dumps(result._asdict()).encode())
            os._exit(0)
        os.close(writer)
        said = os.read(reader, 65536)
        os.close(reader)
        os.waitpid(child, 0)
        effects = self.outsiders.changes()
        if not said:
            return Result(attempt.name, OPEN, "it became another program")
        result = Result(**json.loads(said))
        return result._replace(result=OPEN, reason=", ".join(effects)) if effects else result


@pytest.fixture(scope="module")
def domain(plan: Plan, outsiders: Outsiders, tmp_path_factory: pytest.TempPathFactory) -> Domain:
    place = tmp_path_factory.mktemp("domain")
    (place / "inside").mkdir()
    (place / "evidence").mkdir()
    (place / "evidence" / "segment-000001.jsonl").write_text("")
    return Domain(plan, outsiders, place / "inside")


@pytest.mark.parametrize(
    "name", sorted({name for t in (FILES, NETWORK, SCOPES) for names in t.values() for name in names})
)
def test_with_every_right_it_is_held(domain: Domain, name: str) -> None:
    result = domain.attempt(ALL[name], lambda: None)
    if result.result == "skipped":
        pytest.skip(result.reason)
    assert result.result == HELD, result.reason


def without_file_right(right: int) -> None:
    handled = landlock.handled_file_rights
    landlock.handled_file_rights = lambda abi: handled(abi) & ~right


def without_other(kind: str, right: int) -> None:
    create = landlock.create_ruleset

    def less(**rights: int) -> int:
        return create(**{**rights, kind: rights[kind] & ~right})

    landlock.create_ruleset = less  # type: ignore[assignment]


@pytest.mark.parametrize(("right", "names"), FILES.items())
def test_without_a_right_an_attempt_is_open(domain: Domain, right: str, names: tuple[str, ...]) -> None:
    found = [domain.attempt(ALL[name], lambda: without_file_right(getattr(landlock, right))) for name in names]
    if all(result.result == "skipped" for result in found):
        pytest.skip(found[0].reason)
    assert OPEN in {result.result for result in found}, found


@pytest.mark.parametrize(("right", "names"), NETWORK.items())
def test_without_a_network_right_an_attempt_is_open(domain: Domain, right: str, names: tuple[str, ...]) -> None:
    found = [domain.attempt(ALL[name], lambda: without_other("network", getattr(landlock, right))) for name in names]
    assert {result.result for result in found} == {OPEN}, found


@pytest.mark.parametrize(("right", "names"), SCOPES.items())
def test_without_a_scope_an_attempt_is_open(domain: Domain, right: str, names: tuple[str, ...]) -> None:
    found = [domain.attempt(ALL[name], lambda: without_other("scopes", getattr(landlock, right))) for name in names]
    assert {result.result for result in found} == {OPEN}, found


def test_a_move_between_directories_is_refused_where_the_right_to_it_is_not_handled(domain: Domain) -> None:
    """Landlock refuses every such move below ABI 2: to leave REFER out takes nothing away from the wall."""
    for name in ("hard-link", "move-in", "move-out", "exchange"):
        found = domain.attempt(ALL[name], lambda: without_file_right(landlock.REFER))
        assert found.result == HELD, found


def test_every_right_is_taken_away_by_one_of_these() -> None:
    rights = {name: getattr(landlock, name) for name in (*FILES, "REFER")}
    assert sum(rights.values()) == landlock.handled_file_rights(landlock.abi())


@pytest.mark.parametrize(
    ("layer", "name"), [("restrict_deputy_layer", "unix-abstract"), ("restrict_agent_layer", "signal-deputy")]
)
def test_without_a_layer_an_attempt_is_open(plan: Plan, outsiders: Outsiders, layer: str, name: str) -> None:
    """Without layer one the deputy reaches what the agent may not; without layer two the agent reaches the deputy."""
    assert {result.result for result in prove(plan, [name], outsiders.outside)} == {HELD}

    def without() -> None:
        setattr(apply, layer, lambda plan, directory: None)

    results = {result.name: result.result for result in prove(plan, [name], outsiders.outside, before=without)}
    assert results[name] == OPEN
