"""The scope when none is given: a YAML text in the package, the same that `remit scope explain` shows."""

from __future__ import annotations

from pathlib import Path

NAME = "the default scope"


def default_scope() -> bytes:
    """The text of the default scope. Standard library only: the plan cache reads it before every run."""
    return Path(__file__).with_name("default.yaml").read_bytes()
