"""Fixtures of the scenarios: each runs the real thing, with a workspace, a home and evidence of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage import Stage, new_stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage; what this process itself starts, such as a remit.Session, keeps its state there too."""
    made = new_stage(tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made
