"""Fixtures of the scenarios: each runs the real thing, with a workspace, a home and evidence of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage; what this process itself starts, such as a remit.Session, keeps its state there too."""
    made = Stage(tmp_path)
    for directory in ("workspace", "home", "state", "cache"):
        (tmp_path / directory).mkdir()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made
