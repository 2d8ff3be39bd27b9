"""Finds the evidence directory that a person means: a path, a session id, or `last`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from remit.errors import EvidenceError, UsageError
from remit.evidence.places import sessions_place
from remit.evidence.record import segment_name

_TIME = re.compile(rb'^\{"n":1,"time":(\d+),')


def sessions_root() -> Path:
    """The directory that holds one evidence directory per session, in the user's state folder."""
    return Path(sessions_place())


def find_evidence(name: str) -> Path:
    """The evidence directory called `name`; raises UsageError when there is none, EvidenceError when it is empty."""
    if name == "last":
        return _last()
    # A bare name is never looked for here: an agent knows its session's id, and the workspace is often where we are.
    is_path = "/" in name or name in (".", "..")
    candidate = Path(name) if is_path else sessions_root() / name
    # Any segment will do: that the first one is missing is for `verify` to say.
    if candidate.is_dir() and next(candidate.glob("segment-*.jsonl"), None):
        return candidate
    if is_path and candidate.is_dir():
        raise EvidenceError(f"no evidence in this directory: {name}", hint=f"ls {name}")
    if not is_path and Path(name).is_dir():
        raise UsageError(f"no such session: {name}", hint=f"a directory is named with a slash: ./{name}")
    raise UsageError(f"no such evidence directory or session: {name}", hint=f"ls {sessions_root()}")


def _last() -> Path:
    root = sessions_root()
    try:
        names = os.listdir(root)
    except OSError:
        names = []
    begun = [(time, name) for name in names if (time := _began(root / name)) is not None]
    if not begun:
        raise UsageError(f"no session has been recorded yet: {root}", hint="remit run -- COMMAND")
    return root / max(begun)[1]


def _began(directory: Path) -> int | None:
    """When a session began, as its first record says; None for what is not evidence, or is being removed."""
    try:
        with (directory / segment_name(1)).open("rb") as segment:
            match = _TIME.match(segment.read(64))
    except OSError:
        return None
    return int(match[1]) if match else None
