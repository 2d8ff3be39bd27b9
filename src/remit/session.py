"""What a caller learns about a session: plain records."""

from __future__ import annotations

from typing import Any, NamedTuple

from remit.errors import RemitError


class SessionEnded(RemitError):
    """The session is over: a verdict, a budget or an operator ended it, so nothing more can be run in it."""


class SessionResult(NamedTuple):
    """How a session ended. exit_source: command or remit; findings: as in the evidence, in order."""

    exit_source: str
    ended_by: str
    denials: int
    findings: list[dict[str, Any]]
