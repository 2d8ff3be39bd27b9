"""The presets of agents find the agent as installers put it, and grant neither a home nor what a workspace names."""

from __future__ import annotations

from pathlib import Path

from remit.scope.presets import find_preset
from remit.scope.variables import Places


def places(tmp_path: Path, *directories: Path) -> Places:
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    (tmp_path / "home").mkdir(exist_ok=True)
    return Places(str(workspace), str(tmp_path / "home"), "user", tuple(map(str, directories)), {})


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def link(path: Path, target: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def test_from_npm_it_is_all_packages_of_the_agents_scope(tmp_path: Path) -> None:
    root = tmp_path / "home/.nvm/versions/node/v22.1.0"
    for name, package in (("claude", "@anthropic-ai/claude-code"), ("codex", "@openai/codex")):
        real = program(root / "lib/node_modules" / package / "bin" / name)
        link(root / "bin" / name, real)
    here = places(tmp_path, root / "bin")
    modules = root / "lib/node_modules"
    assert find_preset("claude-code", here).execute == (str(modules / "@anthropic-ai"),)
    assert find_preset("codex", here).execute == (str(modules / "@openai"),)


def test_by_itself_it_is_one_program(tmp_path: Path) -> None:
    real = program(tmp_path / "home/.local/share/claude/versions/2.1.0")
    link(tmp_path / "home/.local/bin/claude", real)
    here = places(tmp_path, tmp_path / "home/.local/bin", tmp_path / "elsewhere")
    assert find_preset("claude-code", here).execute == (str(real),)


def test_a_python_program_comes_with_its_environment(tmp_path: Path) -> None:
    environment = tmp_path / "home/.local/pipx/venvs/mini-swe-agent"
    python = program(environment / "bin/python")
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    real = program(environment / "bin/mini", f"#!{python}\nimport sys\n")
    link(tmp_path / "home/.local/bin/mini", real)
    found = find_preset("mini-swe-agent", places(tmp_path, tmp_path / "home/.local/bin"))
    assert str(environment) in found.execute
    assert str(tmp_path / "home") not in found.execute


def test_an_interpreter_in_the_home_itself_grants_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    real = program(home / "bin/mini", f"#!{program(home / 'bin/python3')}\n")
    assert set(find_preset("mini-swe-agent", places(tmp_path, home / "bin")).execute) <= {
        str(real), *(str(home / part) for part in ("bin", "include", "lib")),
    }  # fmt: skip


def test_what_lies_in_the_workspace_names_nothing(tmp_path: Path) -> None:
    here = places(tmp_path, tmp_path / "workspace/bin", tmp_path / "bin")
    elsewhere = program(tmp_path / "secret/python3")
    program(tmp_path / "workspace/bin/mini", f"#!{elsewhere}\n")
    link(tmp_path / "workspace/bin/claude", elsewhere)
    link(tmp_path / "bin/codex", program(tmp_path / "workspace/node_modules/@openai/codex/bin/codex"))
    for name in ("mini-swe-agent", "claude-code", "codex"):
        assert find_preset(name, here).execute == ()


def test_without_the_agent_nothing_is_granted(tmp_path: Path) -> None:
    for name in ("mini-swe-agent", "claude-code", "codex"):
        found = find_preset(name, places(tmp_path, tmp_path))
        assert (found.execute, found.read, found.write, found.keep) == ((), (), (), ())
