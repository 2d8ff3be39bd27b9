"""`remit demo` says what is missing, and its place is as the story needs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from remit.cli import main
from remit.demo import DemoError
from remit.demo.script import BROKEN_MODULE, FIXED_MODULE
from remit.demo.workspace import a_place
from remit.errors import UsageError


def test_without_asyncssh_the_hint_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["demo", "rome"]) == DemoError.exit_status
    assert "hint: pip install asyncssh" in capsys.readouterr().err


def test_without_remit_there_is_no_gap_to_accept(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("asyncssh")
    assert main(["demo", "rome", "--unguarded", "--accept-gap", "refer-unwalled"]) == UsageError.exit_status
    assert "--accept-gap: without remit there are no walls" in capsys.readouterr().err


def test_a_temporary_place_is_removed() -> None:
    with a_place(None) as place:
        assert (place.workspace / "durations.py").read_text() == BROKEN_MODULE
        assert place.evidence is None
    assert not place.root.exists()


def test_a_kept_place_stays_and_holds_evidence_outside_the_workspace(tmp_path: Path) -> None:
    with a_place(tmp_path / "kept") as place:
        assert place.evidence is not None
        assert not place.evidence.is_relative_to(place.workspace)
    assert place.workspace.is_dir()


def test_the_result_is_there_only_when_the_module_is_fixed_and_the_note_written(tmp_path: Path) -> None:
    with a_place(tmp_path / "kept") as place:
        assert not place.result_is_there()
        (place.workspace / "RESULT.md").touch()
        assert not place.result_is_there()
        (place.workspace / "durations.py").write_text(FIXED_MODULE)
        assert place.result_is_there()
