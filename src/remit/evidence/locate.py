"""Finds the evidence directory that a person means: a path, a session id, or `last`."""

from __future__ import annotations

import os
from pathlib import Path

from remit.errors import EvidenceError
from remit.evidence.record import segment_name


def sessions_root() -> Path:
    """The directory that holds one evidence directory per session, in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative XDG path is invalid by its specification; following it would put evidence into the workspace.
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "remit" / "sessions"


def find_evidence(name: str) -> Path:
    """The evidence directory called `name`; raises EvidenceError when there is none."""
    if name == "last":
        return _last()
    for candidate in (Path(name), sessions_root() / name):
        if (candidate / segment_name(1)).is_file():
            return candidate
    if Path(name).is_dir():
        raise EvidenceError(f"no evidence in this directory: {name}", hint=f"ls {name}/segment-*.jsonl")
    raise EvidenceError(f"no such evidence directory or session: {name}", hint=f"ls {sessions_root()}")


def _last() -> Path:
    root = sessions_root()
    begun: list[tuple[int, str]] = []
    try:
        names = os.listdir(root)
    except OSError:
        names = []
    for name in names:
        try:
            begun.append((os.stat(root / name / segment_name(1)).st_mtime_ns, name))
        except OSError:
            continue  # not an evidence directory, or one that is being removed
    if not begun:
        raise EvidenceError(f"no session has been recorded yet: {root}", hint="remit run -- CMD")
    return root / max(begun)[1]
