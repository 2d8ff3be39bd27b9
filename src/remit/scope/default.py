"""The scope when none is given: a YAML text in the package, the same that `remit scope explain` shows."""

from __future__ import annotations

import os

NAME = "the default scope"


def default_scope() -> bytes:
    """The text of the default scope. Standard library only: the plan cache reads it before every run."""
    with open(os.path.join(os.path.dirname(__file__), "default.yaml"), "rb") as file:
        return file.read()
