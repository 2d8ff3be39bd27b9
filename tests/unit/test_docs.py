"""The documents name what exists, and what exists is in the documents."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit import errors
from remit.boundary.host import find_host
from remit.cli import COMMANDS, command_parser, main
from remit.clock.asynchronous import AsyncSession
from remit.clock.sdk import Session
from remit.detectors import build_detectors
from remit.scope.gaps import GAPS
from remit.scope.model import Scope
from remit.scope.parse import parse_scope
from remit.scope.presets import PRESETS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"
COMMAND_LINES = ROOT / "docs" / "cli.md"
SCOPE_LANGUAGE = ROOT / "docs" / "scope.md"
PACKAGE = Path(remit.__file__).parent


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def sections(path: Path) -> dict[str, str]:
    """The text under each second-level heading."""
    parts = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parsers(name: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command and those of its actions."""
    waiting = [command_parser(name)]
    while waiting:
        parser = waiting.pop()
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


def options(name: str) -> set[str]:
    found = {word for parser in parsers(name) for action in parser._actions for word in action.option_strings}
    return found - {"-h", "--help"}


def shown_commands(path: Path) -> Iterator[list[str]]:
    """Every command line of remit's own that a document shows to be typed."""
    for block in (*blocks(path, "console"), *blocks(path, "sh")):
        for line in block.splitlines():
            typed = line.removeprefix("$ ")
            if re.match(r"(\.venv/bin/)?remit ", typed):
                yield shlex.split(typed, comments=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    section = sections(COMMAND_LINES)[f"remit {name}"]
    assert {word for word in options(name) if f"`{word}" not in section} == set()


def test_the_documented_commands_and_options_exist() -> None:
    for heading, text in sections(COMMAND_LINES).items():
        name = heading.removeprefix("remit ")
        assert name in COMMANDS
        assert set(re.findall(r"^\| `(--[\w-]+)", text, re.MULTILINE)) - options(name) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_works_and_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"^examples?:\n +remit {name}\b", text, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_a_document_shows_exist(path: Path) -> None:
    for words in shown_commands(path):
        name, rest = words[1], words[2:]
        assert name in COMMANDS, words
        own = rest[: rest.index("--")] if "--" in rest else rest
        assert {word for word in own if word.startswith("--")} <= options(name), words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert [target for target in targets if ":" not in target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|scripts|bench|\.ci)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_the_readme_tells_every_exit_status() -> None:
    statuses = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    table = sections(README)["Exit statuses of `remit run`"]
    assert statuses <= {int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


@pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")
def test_the_readmes_harness_runs(tmp_path: Path) -> None:
    (example,) = blocks(README, "python")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    environment = {"PATH": os.defpath, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=workspace, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stderr, done.stdout) == ("", "hello\n 0 []\n")


def test_the_example_of_a_detectors_test_holds() -> None:
    (example,) = blocks(ROOT / "CONTRIBUTING.md", "python")
    exec(compile(example, "CONTRIBUTING.md", "exec"), {})


@pytest.mark.parametrize("path", [README, SCOPE_LANGUAGE], ids=lambda path: path.name)
def test_scopes_in_documents_are_right(path: Path) -> None:
    assert [parse_scope(text.encode()).scope.task for text in blocks(path, "yaml")]


def test_every_key_preset_and_gap_is_documented() -> None:
    text = SCOPE_LANGUAGE.read_text(encoding="utf-8")
    names = {*keys(Scope.model_json_schema(by_alias=True)), *PRESETS, *GAPS}
    assert {name for name in names if f"`{name}`" not in text} == set()


def keys(schema: dict[str, object], definition: str = "", prefix: str = "") -> Iterator[str]:
    """The keys of a scope, as a person cites them: files.write."""
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    described = definitions[definition] if definition else schema
    for key, member in described["properties"].items():
        reference = str(member.get("$ref", "")).rpartition("/")[2]
        if reference:
            yield from keys(schema, reference, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_every_behaviour_that_is_recognised_is_named() -> None:
    behaviours = {detector.behaviour for detector in build_detectors(None)}  # type: ignore[arg-type]
    for path in (SCOPE_LANGUAGE, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"):
        assert {name for name in behaviours if name not in path.read_text(encoding="utf-8")} == set()


@pytest.mark.parametrize("session", [Session, AsyncSession])
def test_the_sdks_members_are_documented(session: type) -> None:
    text = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
    members = {name for name in vars(session) if not name.startswith("_")}
    assert {name for name in members if f"`{name}" not in text} == set()


def test_the_code_map_names_every_package_and_only_modules_that_exist() -> None:
    code_map = sections(ROOT / "ARCHITECTURE.md")["Code map"]
    packages = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    assert {package for package in packages if f"{package.rpartition('/')[2]}/" not in code_map} == set()
    for chunk in re.split(r"\n\n(?=\*\*)", code_map):
        folder = re.match(r"\*\*(\w+)/\*\*", chunk)
        place = PACKAGE / folder[1] if folder else PACKAGE
        missing = [name for name in re.findall(r"`(\w+\.py)`", chunk) if not (place / name).exists()]
        assert missing == [], place
        if folder:
            unnamed = {path.name for path in place.glob("*.py")} - {"__init__.py"} - set(re.findall(r"\w+\.py", chunk))
            # A command's module is named for the command.
            assert {name for name in unnamed if name.removesuffix(".py") not in COMMANDS} == set(), place
