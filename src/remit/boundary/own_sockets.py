"""The path-named sockets of a session: an inode is its own only if the kernel says that the session bound it there.

A path proves nothing, since the agent can swap any directory of it between two system calls. What was bound is asked
of the kernel by the socket; then the inode is held open, for a number given back can come to mean an outsider's.
"""

from __future__ import annotations

import os
import stat

from remit.kernel.unix_diag import bound_inode

_HELD_MAX = 512  # below the usual limit of 1024 descriptors
_INODE_BITS = 0xFFFFFFFF  # what the kernel tells of an inode's number


class OwnSockets:
    """The sockets this session has bound, each held open."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], int] = {}

    def __contains__(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) in self._held

    def add(self, bound: int, path: bytes, directory: int) -> None:
        """Note the socket `bound`, which was bound at `path` beneath the directory. Does nothing when something else
        lies there by now: then the socket is out of reach, for everybody."""
        for key, held in list(self._held.items()):
            if os.fstat(held).st_nlink == 0:
                self._drop(key)  # no path leads to it any more
        if len(self._held) >= _HELD_MAX:
            self._drop(next(iter(self._held)))
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return
        found = os.fstat(descriptor)
        if not stat.S_ISSOCK(found.st_mode) or found in self or not _is_bound_at(bound, found):
            os.close(descriptor)
            return
        self._held[found.st_dev, found.st_ino] = descriptor

    def _drop(self, key: tuple[int, int]) -> None:
        # Forgotten before it is let go, so that a worker never finds a number that may mean another socket.
        os.close(self._held.pop(key))


def _is_bound_at(bound: int, found: os.stat_result) -> bool:
    try:
        return bound_inode(bound) == found.st_ino & _INODE_BITS
    except OSError:
        # No unix_diag in this kernel. The directory was opened once and for all, so the worst that can lie there is an
        # outsider's socket out of a tree that the agent may write.
        return True
