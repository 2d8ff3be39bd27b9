"""What both ends of the claims socket agree on: its place, how a claimed step is called, and how large a claim is."""

from __future__ import annotations

CLAIMS_VARIABLE = "REMIT_CLAIMS"  # in the agent's environment: the path of the session's claims socket
CLAIMED = "claim:"  # what the names of claimed steps begin with, and those of no other step
LINE_MAX = 64 << 10  # bytes of a claim, its newline not counted
WORD_MAX = 256  # characters of an id, a tool's name and the like
DEEPEST = 16  # of arguments within arguments


def claims_place(temporary_directory: str) -> str:
    """Where the socket is: beside the session's private directory, which is the agent's to write."""
    return f"{temporary_directory}.claims"
