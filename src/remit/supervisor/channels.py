"""Shared descriptors that could carry commands: how a process that outlives its step may still be steered.

Only a readable pipe, a terminal or a socket can bring in new work; a pipe that is merely written to cannot.
"""

from __future__ import annotations

import os

from remit.kernel import proc

_ACCESS_MODE = 3


def steering_channels(pid: int) -> set[str]:
    """The pipes and sockets the process can read from, and its terminals, by their names in /proc."""
    found = set()
    for target, flags in proc.descriptors(pid).values():
        if target.startswith("pipe:") and flags & _ACCESS_MODE != os.O_WRONLY:
            found.add(target)
        elif target.startswith(("socket:", "/dev/pts/", "/dev/tty")):
            found.add(target)
    return found


def held_channels(pid: int) -> set[str]:
    """Every pipe, socket and terminal that the process holds, whichever way it goes."""
    return {
        target
        for target, _ in proc.descriptors(pid).values()
        if target.startswith(("pipe:", "socket:", "/dev/pts/", "/dev/tty", "/dev/ptmx"))
    }
