"""A wrong command line is told in one line and a hint, and every help text says how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import remit
from remit.cli import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo"], "missing: rome"),
        (["report"], "missing: DIR"),
        (["scope"], "missing: check|explain|suggest|schema"),
        (["completion"], "missing: bash|zsh|tcsh"),
        (["run", "--nope", "--", "ls"], "unrecognized arguments: --nope"),
        (["run", "--fail-on", "x", "--", "ls"], "argument --fail-on: invalid choice: 'x'"),
        (["exec", "--", "ls"], "missing: --step"),
        (["--nope"], "unrecognized arguments: --nope"),
    ],
)
def test_one_line_and_a_hint(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith(f"remit: {message}")
    assert said[1].startswith("hint: remit")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "--scop", "x", "--", "true"], "--scope"),
        (["run", "--scop=x", "--", "true"], "--scope"),
        (["run", "-scope", "x", "--", "true"], "--scope"),
        (["run", "--workspce", "x", "--", "--scop"], "--workspace"),
        (["report", "last", "--fromat", "json"], "--format"),
        (["scope", "suggest", "last", "--outptu", "x"], "--output"),
    ],
)
def test_a_slip_in_an_option_is_told_the_option(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[1] == f"hint: did you mean {meant}?"


@pytest.mark.parametrize("action", ["check", "explain", "schema"])
def test_the_help_of_a_scope_command_has_examples(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scope", action, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"  remit scope {action}" in text
    assert ".\n\n" in text


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from remit.cli import entry; entry()", "scope", "schema"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


FULL = "remit: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "unbuffered"),
    [
        (["scope", "schema"], ""),
        (["scope", "schema"], "1"),
        (["completion", "bash"], ""),
        (["completion", "bash"], "1"),
        # Written at once, help is argparse's business, which from Python 3.12 on ignores that it cannot be written.
        (["--help"], ""),
        (["scope", "--help"], ""),
    ],
)
def test_a_full_device_is_one_line(words: list[str], unbuffered: str) -> None:
    command = [sys.executable, "-c", "from remit.cli import entry; entry()", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, FULL)
        # Nobody can be told why, but that it failed.
        assert subprocess.run(command, env=environment, stdout=full, stderr=full, check=False).returncode == 1
        wrong = [*command[:3], "nope"]
        assert subprocess.run(wrong, env=environment, stdout=full, stderr=full, check=False).returncode == 2


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is no more."""
    place = tmp_path / "removed"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    return place


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--", "true"],
        ["run", "--workspace", "/tmp", "--", "true"],
        ["exec", "--step", "a", "--", "true"],
        ["scope", "check"],
        ["scope", "explain"],
    ],
)
def test_a_current_directory_that_was_removed(
    words: list[str], removed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"remit: cannot use the current directory: No such file or directory: {removed} (deleted)",
        "hint: cd to a directory that is there",
    ]
    with pytest.raises(FileNotFoundError, match=str(removed)):
        remit.Session()
