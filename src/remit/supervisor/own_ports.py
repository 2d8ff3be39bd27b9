"""The listening sockets of the session, each found again with the process that holds it."""

from __future__ import annotations

import os

from remit.kernel import pidfd, proc, tcp_table
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.processes import Process, ProcessTable

_KEPT = 1024
_HELD_MAX = 4  # a message carries at most eight descriptors


class OwnPorts:
    """Every socket that was made to listen for the session, by its inode, which the kernel does not soon use again."""

    def __init__(self, processes: ProcessTable, made: MadeSockets | None) -> None:
        self._processes = processes
        self._made = made
        self._listening: dict[int, tuple[Process, int]] = {}  # inode -> who made it listen, and as which descriptor

    def add(self, inode: int, process: Process, descriptor: int) -> None:
        """A socket listens now."""
        if len(self._listening) >= _KEPT:
            del self._listening[next(iter(self._listening))]  # the oldest is refused from now on, if it still listens
        self._listening[inode] = (process, descriptor)

    def hold(self, address: bytes, tables: list[int]) -> tuple[list[int], list[int]] | None:
        """Who listens at `address`: inodes, and duplicates; empty when nobody does, None when one is an outsider's.

        Of the many that share a port (SO_REUSEPORT) a few are held, which keeps it from everybody else.
        """
        inodes: list[int] = []
        held: list[int] = []
        for inode in tcp_table.listeners(address, tables):
            descriptor = self._take(inode) if inode in self._listening else None
            if descriptor is None:
                for other in held:
                    os.close(other)
                return None
            inodes.append(inode)
            if len(held) < _HELD_MAX:
                held.append(descriptor)
            else:
                os.close(descriptor)
        return inodes, held

    def _take(self, inode: int) -> int | None:
        if self._made is not None:
            return self._made.duplicate(inode)
        process, number = self._listening[inode]
        if self._processes.get(process.pid) is process:
            found = _duplicate(process, number, inode)
            if found is not None:
                return found
        for other in self._processes:
            try:
                numbers = [n for n, (target, _) in proc.descriptors(other.pid).items() if target == f"socket:[{inode}]"]
            except OSError:
                continue
            for number in numbers:
                found = _duplicate(other, number, inode)
                if found is not None:
                    return found
        return None


def _duplicate(process: Process, number: int, inode: int) -> int | None:
    try:
        descriptor = pidfd.take_descriptor(process.pidfd, number)
    except OSError:
        return None
    if os.fstat(descriptor).st_ino == inode:
        return descriptor
    os.close(descriptor)
    return None
