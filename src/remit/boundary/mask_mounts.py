"""Covers secrets and protected paths inside granted trees by mounts that nothing inside can move, lift or look beneath.

A secret is hidden by something empty that cannot be opened; a protected path is bound over itself, read-only; and every
directory between it and the edge of the writable tree is bound over itself too, because a mount point cannot be
renamed or removed, and so no parent can be moved away. What is protected and does not exist gets an empty directory in
its place for as long as the session lasts.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from typing import NamedTuple

from remit.kernel import mounts, namespaces
from remit.plan import Mask

PIN, READ_ONLY, HIDE = "pin", "read-only", "hide"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Cover(NamedTuple):
    """One mount over `path`."""

    path: str
    how: str


def can_mount() -> bool:
    """Whether this process could have mounts of its own, found by making some in a child."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            namespaces.enter_own_mounts()
            mounts.receive_mounts_only()
            with _Scratch("/proc") as scratch:
                place = os.open("/", os.O_PATH | os.O_CLOEXEC)
                mounts.cover(place, scratch.directory, read_only=True)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def lay_out(masks: Iterable[Mask], temporary_directory: str) -> tuple[Cover, ...]:
    """The mounts that these masks need, outer ones first. What is protected must exist by now."""
    covers: dict[str, str] = {}
    for mask in sorted(_real(mask, temporary_directory) for mask in masks):
        place, found = _settle(mask.path)
        if not found or any(how == HIDE and _is_below(place, path) for path, how in covers.items()):
            continue  # a secret that is gone has nothing to lose, and beneath a hidden one there is nothing
        if mask.root:
            for ancestor in _between(mask.root, place):
                covers.setdefault(ancestor, PIN)
        if covers.get(place) != HIDE:
            covers[place] = HIDE if mask.kind == "secret" else READ_ONLY
    return tuple(Cover(path, how) for path, how in sorted(covers.items()))


def put_up(covers: Iterable[Cover], temporary_directory: str) -> None:
    """Move this process into a mount namespace of its own with these mounts in it. Raises OSError."""
    namespaces.enter_own_mounts()
    mounts.receive_mounts_only()
    add(covers, temporary_directory)


def add(covers: Iterable[Cover], temporary_directory: str) -> None:
    """Make these mounts in the namespace that this process is in. Raises OSError."""
    place = os.path.join(temporary_directory, ".mask")
    os.mkdir(place, 0o700)
    with _Scratch(place) as scratch:
        for cover in covers:
            target = mounts.open_exactly(cover.path)
            kind = stat.S_IFMT(os.fstat(target).st_mode)
            if kind == stat.S_IFLNK:
                raise OSError(errno.ELOOP, f"a link has taken the place of {cover.path}")
            hiding = scratch.directory if kind == stat.S_IFDIR else scratch.file
            mounts.cover(target, hiding if cover.how == HIDE else target, read_only=cover.how != PIN)
            os.close(target)
    os.rmdir(place)


def make_placeholders(masks: Iterable[Mask], temporary_directory: str) -> list[str]:
    """Put an empty directory wherever something protected is missing, so that a mount can keep its place.

    Returns those made, for `remove_placeholders`. Raises OSError.
    """
    made: list[str] = []
    for mask in (_real(mask, temporary_directory) for mask in masks if mask.kind == "protected"):
        while not (found := _settle(mask.path))[1]:
            try:
                os.mkdir(found[0], 0o700)
                made.append(found[0])
            except FileExistsError:
                continue  # another session's
            except OSError:
                remove_placeholders(made)
                raise
    return made


def remove_placeholders(made: Iterable[str]) -> None:
    """Take back what `make_placeholders` made; nothing but an empty directory is ever removed."""
    for place in sorted(made, reverse=True):
        try:
            os.rmdir(place)
        except OSError:
            pass  # somebody outside has put something there, or taken it away


def mount_points(process: int) -> set[str]:
    """Every place where something is mounted in the namespace of a process, as it names them."""
    with open(f"/proc/{process}/mountinfo", "rb") as file:
        names = (line.split(b" ", 5)[4] for line in file)
        return {os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), name)) for name in names}


class _Scratch:
    """Something empty that cannot be opened, as a file and as a directory, while it lasts; mounted over `place`.

    It must stay mounted until it has been bound elsewhere: older kernels bind nothing from a detached mount.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> _Scratch:
        mounts.mount_scratch(self._place)
        root = os.open(self._place, os.O_PATH | os.O_CLOEXEC)
        os.mkdir("directory", 0o000, dir_fd=root)
        os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o000, dir_fd=root))
        self.directory = os.open("directory", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
        self.file = os.open("file", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
        os.close(root)
        return self

    def __exit__(self, *problem: object) -> None:
        os.close(self.directory)
        os.close(self.file)
        mounts.detach(self._place)


def _real(mask: Mask, temporary_directory: str) -> Mask:
    def replace(path: str) -> str:
        return path.replace("$TMPDIR", temporary_directory)

    return Mask(replace(mask.path), mask.kind, replace(mask.root))


def _settle(path: str) -> tuple[str, bool]:
    """The first component of `path` that is missing or no directory, else `path`; and whether it is there."""
    place = ""
    for name in path.strip("/").split("/"):
        place += f"/{name}"
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            return place, False
        if not stat.S_ISDIR(status.st_mode):
            break  # as long as a file stays here, what would lie beneath it cannot come to be
    return place, True


def _between(root: str, path: str) -> list[str]:
    """The directories from just below `root` to just above `path`."""
    names = path[len(root) :].strip("/").split("/")[:-1]
    return [os.path.join(root, *names[: count + 1]) for count in range(len(names))]


def _is_below(path: str, tree: str) -> bool:
    return path.startswith(tree + "/")
