"""How a process that outlives its step may still be told what to do: a readable channel that a controller shares.

Only what the process can read from counts: a pipe that is merely written to brings in no new work. Pipes and FIFOs are
compared by name, terminals by their master, unix sockets by who made them (SO_PEERCRED of a socket pair is its maker).
"""

from __future__ import annotations

import os
import socket
import stat
import struct

from remit.kernel import pidfd, proc
from remit.kernel.closing import close_promptly
from remit.supervisor.processes import Process

_ACCESS_MODE = 3
_CREDENTIALS = struct.Struct("=iII")
_MASTERS = ("/dev/ptmx", "/dev/pts/ptmx")
_TERMINALS = ("/dev/pts/", "/dev/tty")


def held_channels(pid: int) -> set[str]:
    """Every pipe, FIFO and terminal that a controller holds, by its name in /proc."""
    return {target for target, _ in proc.descriptors(pid).values() if not target.startswith("socket:")}


def steering_channel(process: Process, held: set[str] | None, controllers: set[int]) -> str | None:
    """The first channel through which a controller may steer the process, or None.

    `held` is what the controllers hold; None when that could not be read, and then every channel might be theirs.
    """
    for number, (target, flags) in sorted(proc.descriptors(process.pid).items()):
        if flags & _ACCESS_MODE == os.O_WRONLY:
            continue
        if target.startswith("socket:"):
            if _is_controlled_socket(process, number, controllers):
                return target
        elif target.startswith(_TERMINALS):
            if held is None or target in held or not held.isdisjoint(_MASTERS):
                return target
        elif _is_pipe(process.pid, number) and (held is None or target in held):
            return target
    return None


def _is_pipe(pid: int, number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(f"/proc/{pid}/fd/{number}").st_mode)
    except OSError:
        return False


def _is_controlled_socket(process: Process, number: int, controllers: set[int]) -> bool:
    try:
        holder = socket.socket(fileno=pidfd.take_descriptor(process.pidfd, number))
    except OSError:
        return True  # it cannot be looked at, so it is not known to be harmless
    try:
        if holder.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) != socket.AF_UNIX:
            return False
        maker = _CREDENTIALS.unpack(holder.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        return maker in controllers
    except OSError:
        return False
    finally:
        close_promptly(holder.detach())
