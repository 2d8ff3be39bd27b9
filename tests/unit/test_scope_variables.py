"""Variables mean one thing each, and presets find interpreters without ever granting a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from remit.boundary import cache
from remit.scope import variables
from remit.scope.interpreters import node_prefixes, python_prefixes
from remit.scope.presets import PRESETS, find_preset
from remit.scope.values import ValueProblem
from remit.scope.variables import Places, expand_paths, expand_text, find_places


def places(tmp_path: Path, **environment: str) -> Places:
    home = tmp_path / "home"
    (tmp_path / "work").mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    return find_places(
        str(tmp_path / "work"), {"HOME": str(home), "USER": "ada", "PATH": "/usr/bin:/bin", **environment}
    )


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_paths(tmp_path: Path) -> None:
    here = places(tmp_path)
    assert expand_paths("$WORKSPACE/a", here) == (f"{here.workspace}/a",)
    assert expand_paths("src/../b", here) == (f"{here.workspace}/b",)
    assert expand_paths("~/.ssh", here) == (f"{here.home}/.ssh",)
    assert expand_paths("${HOME}/x", here) == (f"{here.home}/x",)
    assert expand_paths("/srv/$USER", here) == ("/srv/ada",)
    assert expand_paths("$PATH", here) == ("/usr/bin", "/bin")
    assert expand_paths("$TMPDIR", here) == ("$TMPDIR",)
    assert expand_paths("$TMPDIR/a//b/", here) == ("$TMPDIR/a/b",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$WORKSPCE/a", "unknown variable: $WORKSPCE"),
        ("~root/x", "another user's home"),
        ("/a/$PATH", "several directories"),
        ("$TMPDIR/../x", "cannot go up"),
        ("/a/$TMPDIR", "can only begin"),
        ("/a/*.txt", "patterns"),
    ],
)
def test_paths_that_mean_nothing(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueProblem, match=message.replace("$", r"\$")):
        expand_paths(text, places(tmp_path))


def test_text_keeps_what_is_no_variable(tmp_path: Path) -> None:
    assert expand_text("costs 5$ and $USER, $TMPDIR", places(tmp_path)) == "costs 5$ and ada, $TMPDIR"


def test_a_home_that_is_not_set_is_looked_up(tmp_path: Path) -> None:
    assert find_places(str(tmp_path), {}).home.startswith("/")
    assert find_places(str(tmp_path), {"HOME": "relative"}).home.startswith("/")


def test_relative_entries_of_path_are_left_out(tmp_path: Path) -> None:
    assert places(tmp_path, PATH=":.:bin:/usr/bin:/usr/bin").path_directories == ("/usr/bin",)


def test_the_cache_knows_every_variable_that_plans_use() -> None:
    assert cache.USED_VARIABLES == variables.USED_VARIABLES


def test_a_virtual_environment_and_what_it_was_made_from(tmp_path: Path) -> None:
    real = program(tmp_path / "cpython" / "bin" / "python3.13")
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python3").symlink_to(real)
    (environment / "pyvenv.cfg").write_text(f"home = {real.parent}\nversion = 3.13\n")
    found = python_prefixes(places(tmp_path, PATH=f"{environment}/bin"))
    assert set(found.prefixes) == {str(environment), str(tmp_path / "cpython")}


def test_shims_lead_to_their_root(tmp_path: Path) -> None:
    root = tmp_path / "home" / ".pyenv"
    for name in ("libexec", "versions"):
        (root / name).mkdir(parents=True)
    program(root / "shims" / "python3")
    program(root / "plugins" / "virtualenv" / "shims" / "python3")
    found = python_prefixes(places(tmp_path, PATH=f"{root}/plugins/virtualenv/shims:{root}/shims"))
    assert found.prefixes == (str(root),)
    assert found.pyenv_root == str(root)
    assert find_preset("python", places(tmp_path, PATH=f"{root}/shims")).set["PYENV_ROOT"] == str(root)


def test_an_interpreter_in_the_home_does_not_grant_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    program(home / "bin" / "python3")
    program(home / ".local" / "bin" / "python3")
    found = python_prefixes(places(tmp_path, PATH=f"{home}/bin:{home}/.local/bin"))
    assert str(home) not in found.prefixes
    assert str(home / ".local") not in found.prefixes
    assert str(home / ".local" / "lib") in found.prefixes


def test_what_is_installed_editable_can_be_read_but_an_agent_cannot_name_it(tmp_path: Path) -> None:
    source = tmp_path / "checkout" / "src"
    source.mkdir(parents=True)
    here = places(tmp_path)
    for environment in (tmp_path / "environment", Path(here.workspace) / ".venv"):
        program(environment / "bin" / "python3")
        (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
        packages = environment / "lib" / "python3.11" / "site-packages"
        packages.mkdir(parents=True)
        (packages / "_project.pth").write_text(f"import harmless\n{source}\n/missing\n{here.home}\n")
    outside = places(tmp_path, PATH=f"{tmp_path}/environment/bin")
    assert python_prefixes(outside).sources == (str(source),)
    assert find_preset("python", outside).read == (str(source),)
    assert str(source) not in python_prefixes(outside).prefixes
    assert python_prefixes(places(tmp_path, PATH=f"{here.workspace}/.venv/bin")).sources == ()


@pytest.mark.parametrize("way", ["a link", "pyvenv.cfg"])
def test_an_agent_cannot_name_what_its_next_session_shall_read(tmp_path: Path, way: str) -> None:
    here = places(tmp_path)
    secret, real = tmp_path / "home" / "secret", tmp_path / "home" / "python"
    for directory in (secret, real):
        program(directory / "bin" / "python3")
    (real / "lib" / "python3.11").mkdir(parents=True)
    (real / "lib" / "python3.11" / "os.py").touch()
    for name, target in (("planted", secret), ("honest", real)):
        bin_directory = Path(here.workspace) / name / "bin"
        bin_directory.mkdir(parents=True)
        if way == "a link":
            (bin_directory / "python3").symlink_to(target / "bin" / "python3")
        else:
            program(bin_directory / "python3")
            (bin_directory.parent / "pyvenv.cfg").write_text(f"home = {target}/bin\n")
    named = python_prefixes(places(tmp_path, PATH=f"{here.workspace}/planted/bin:{here.workspace}/honest/bin"))
    assert str(secret) not in named.prefixes
    assert str(real) in named.prefixes
    active = python_prefixes(places(tmp_path, PATH="/nowhere", VIRTUAL_ENV=f"{here.workspace}/planted"))
    assert str(secret) not in active.prefixes


def test_node_from_a_version_manager(tmp_path: Path) -> None:
    prefix = tmp_path / "home" / ".nvm" / "versions" / "node" / "v22.1.0"
    program(prefix / "bin" / "node")
    assert node_prefixes(places(tmp_path, PATH=f"{prefix}/bin")) == (str(prefix),)


def test_git_is_told_where_the_settings_are(tmp_path: Path) -> None:
    here = places(tmp_path)
    assert "GIT_CONFIG_GLOBAL" not in find_preset("git", here).set
    settings = Path(here.home) / ".gitconfig"
    settings.write_text("[user]\n")
    assert find_preset("git", here).set["GIT_CONFIG_GLOBAL"] == str(settings)


def test_presets_hold_nothing_secret() -> None:
    for preset in PRESETS.values():
        for path in (*preset.read, *preset.write, *preset.execute):
            assert "shadow" not in path
            assert "private" not in path
            assert "host_" not in path
            assert path not in ("/", "~", "/etc", "/dev", "/home")
        assert not any("SECRET" in name or "TOKEN" in name or "KEY" in name for name in preset.keep)
    assert not any(os.path.basename(path).startswith(("nvidia", "dri")) for path in PRESETS["base"].write)
