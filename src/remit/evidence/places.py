"""Where a user's evidence and signing key lie: `$XDG_STATE_HOME/remit`, as plain text and found without a look at it.

Text and not pathlib's paths, here and wherever `remit run` passes before the agent starts: see docs/decisions/0015.
"""

from __future__ import annotations

import os


def sessions_place() -> str:
    """The directory that holds one evidence directory per session."""
    return f"{_state()}/sessions"


def notary_key_place() -> str:
    """The notary's private key, in a directory that holds nothing else."""
    return f"{_state()}/notary/key.pem"


def mcp_place() -> str:
    """The directory where the tools of MCP servers are remembered."""
    return f"{_state()}/mcp"


def name_of(evidence: str | os.PathLike[str]) -> str:
    """What a person writes to mean this directory: the session's id where that is enough."""
    parent, _, name = os.fspath(evidence).rpartition("/")
    return name if parent == sessions_place() else os.fspath(evidence)


def _state() -> str:
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative XDG path is invalid by its specification; following it would put evidence into the workspace.
    base = os.path.normpath(state) if state.startswith("/") else f"{os.path.expanduser('~').rstrip('/')}/.local/state"
    return f"{base.rstrip('/')}/remit"
