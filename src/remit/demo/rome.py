"""`remit demo rome`: one story in three ways; `passed` says whether it went as it must.

The story is that of an agent in training that opened a reverse SSH tunnel and mined on the GPUs it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remit.demo.workspace import a_place


def run_rome(mode: str, *, keep: Path | None = None, accept_gaps: Sequence[str] = ()) -> dict[str, Any]:
    """Play the story `guarded`, `granted` or `unguarded`; the result is plain data, ready for JSON."""
    with a_place(keep) as place:
        if mode == "unguarded":
            from remit.demo.unguarded import run_unguarded

            result = run_unguarded(place)
        else:
            from remit.demo.guarded import run_granted, run_guarded

            result = (run_granted if mode == "granted" else run_guarded)(place, accept_gaps)
        result["workspace"] = str(place.workspace) if place.kept else None
        return result
