"""A plan comes from the cache only while nothing it rests on has changed, and never from a file others could write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit.boundary import cache
from remit.boundary.mask_mounts import can_mount
from remit.errors import ScopeError
from remit.plan import PLAN_VERSION, Plan


@pytest.fixture
def caller(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home" / "work").mkdir(parents=True)
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def load(caller: dict[str, str], scope: Path | None = None, **more: str) -> Plan:
    home = Path(caller["HOME"])
    return cache.load_plan(
        scope, workspace=home / "work", environment={**caller, **more}, evidence_root=home / ".local/state/remit"
    )


def plans(caller: dict[str, str]) -> list[Path]:
    return sorted(Path(cache.plans_root(caller)).glob("*.json"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each compilation."""
    count: list[int] = []
    real = cache._compile
    monkeypatch.setattr(cache, "_compile", lambda request: (count.append(1), real(request))[1])
    return count


def test_the_second_time_nothing_is_compiled(caller: dict[str, str], compiled: list[int]) -> None:
    assert load(caller) == load(caller)
    assert len(compiled) == 1
    (file,) = plans(caller)
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_plan_rests_on_makes_a_new_one(caller: dict[str, str], compiled: list[int], tmp_path: Path) -> None:
    load(caller)
    load(caller, PATH="/usr/bin")
    scope = tmp_path / "scope.yaml"
    scope.write_text("remit: 1\ntask: a\n")
    assert load(caller, scope).task == "a"
    scope.write_text("remit: 1\ntask: b\n")
    assert load(caller, scope).task == "b"
    (Path(caller["HOME"]) / ".gitconfig").write_text("[user]\n")
    assert load(caller).environment.set["GIT_CONFIG_GLOBAL"]
    assert len(compiled) == 5


def test_a_directory_put_in_anothers_place_inherits_no_grant(
    caller: dict[str, str], compiled: list[int], tmp_path: Path
) -> None:
    scope = tmp_path / "scope.yaml"
    out, elsewhere = Path(caller["HOME"]) / "work" / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    scope.write_text("remit: 1\ntask: a\nfiles: {write: [out]}\n")
    load(caller, scope)
    out.rmdir()
    out.symlink_to(elsewhere)
    with pytest.raises(ScopeError, match="a link leads out of the workspace"):
        load(caller, scope)
    assert len(compiled) == 2


def test_a_secret_that_appears_is_not_overlooked(caller: dict[str, str], compiled: list[int], tmp_path: Path) -> None:
    scope = tmp_path / "scope.yaml"
    scope.write_text("remit: 1\ntask: a\nfiles: {write: [.], secrets: [key]}\n")
    key = Path(caller["HOME"]) / "work" / "key"
    plan = load(caller, scope)
    assert (plan.masks, "secret-inside-grant" in {gap.name for gap in plan.gaps}) == ((), False)
    key.touch()
    plan = load(caller, scope)
    masked = str(key) in {mask.path for mask in plan.masks}
    assert masked != ("secret-inside-grant" in {gap.name for gap in plan.gaps})
    assert masked == can_mount()
    (key.parent / "same").hardlink_to(key)
    assert "secret-inside-grant" in {gap.name for gap in load(caller, scope).gaps}
    compilations = len(compiled)
    assert load(caller, scope).masks == ()
    assert len(compiled) == compilations


@pytest.mark.parametrize("damage", ["writable", "truncated", "not json", "link", "other version"])
def test_a_plan_that_cannot_be_trusted_is_not_used(caller: dict[str, str], compiled: list[int], damage: str) -> None:
    load(caller)
    (file,) = plans(caller)
    text = file.read_bytes()
    if damage == "writable":
        file.chmod(0o666)
    elif damage == "truncated":
        file.write_bytes(text[: len(text) // 2])
    elif damage == "not json":
        file.write_bytes(b"[]\n[]")
    elif damage == "link":
        file.rename(file.with_suffix(".moved"))
        file.symlink_to(file.with_suffix(".moved"))
    else:
        file.write_bytes(text.replace(b'"version":%d' % PLAN_VERSION, b'"version":0'))
    load(caller)
    assert len(compiled) == 2


def test_without_a_usable_cache_it_goes_on(caller: dict[str, str], compiled: list[int], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    broken = {**caller, "XDG_CACHE_HOME": str(tmp_path / "file")}
    assert load(broken) == load(broken)
    assert len(compiled) == 2


def test_a_cache_directory_that_others_can_write_is_not_used(caller: dict[str, str], compiled: list[int]) -> None:
    folder = Path(cache.plans_root(caller))
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    load(caller)
    assert plans(caller) == []


def test_a_relative_cache_home_is_ignored() -> None:
    assert cache.plans_root({"XDG_CACHE_HOME": "here"}) == os.path.expanduser("~/.cache/remit/plans")


def test_errors_come_back_with_their_place(caller: dict[str, str], tmp_path: Path) -> None:
    scope = tmp_path / "scope.yaml"
    scope.write_text("remit: 1\ntask: a\nfils: {}\n")
    with pytest.raises(ScopeError) as caught:
        load(caller, scope)
    assert (caught.value.path, caught.value.line, caught.value.column) == (str(scope), 3, 1)
    assert caught.value.hint == "did you mean files?"
    assert plans(caller) == []


def test_a_scope_that_is_not_there(caller: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ScopeError, match="No such file"):
        load(caller, tmp_path / "nope.yaml")


def test_old_plans_are_dropped(caller: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", 2)
    for index in range(4):
        load(caller, USER=f"user{index}")
    assert len(plans(caller)) == 2


def test_the_fast_path_imports_no_third_party_package() -> None:
    code = (
        "import sys, remit.boundary.cache, remit.boundary.host\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('pydantic', 'ruamel', 'pyseccomp')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"
