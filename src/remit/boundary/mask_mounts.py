"""Covers secrets and protected paths inside granted trees by mounts that nothing inside can move, lift or look beneath.

A secret is hidden by something empty that cannot be opened; a protected path is bound over itself, read-only; and every
directory between it and the edge of the writable tree is bound over itself too, because a mount point cannot be
renamed or removed, and so no parent can be moved away. What is protected and does not exist gets an empty directory in
its place for as long as the session lasts. What programs of one user share by name, /dev/shm and the terminals in
/dev/pts, is then the session's own too.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable

from remit.kernel import mounts, namespaces
from remit.plain import Data
from remit.plan import Mask

PIN, READ_ONLY, HIDE, MEMORY, TERMINALS = "pin", "read-only", "hide", "memory", "terminals"
_OWN = (MEMORY, TERMINALS)
_SCRATCH = "/proc"
_ESCAPE = rb"\\([0-7]{3})"


SHARED = {"/dev/shm": MEMORY, "/dev/pts": TERMINALS}


class Cover(Data):
    """One mount over `path`."""

    path: str
    how: str


def can_mount() -> bool:
    """Whether this process could have mounts of its own, found by making one in a child."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            shared = tuple(Cover(path, how) for path, how in SHARED.items() if os.path.isdir(path))
            put_up((Cover("/proc", HIDE), *shared))
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def lay_out(masks: Iterable[Mask], temporary_directory: str) -> tuple[Cover, ...]:
    """The mounts that these masks need, outer ones first. What is protected must exist by now."""
    covers: dict[str, str] = {}
    for mask in sorted(_real(mask, temporary_directory) for mask in masks):
        if mask.kind in _OWN:
            covers[mask.path] = mask.kind
            continue
        place, found = _settle(mask.path)
        if not found or any(how == HIDE and _is_below(place, path) for path, how in covers.items()):
            continue  # a secret that is gone has nothing to lose, and beneath a hidden one there is nothing
        if mask.root:
            for ancestor in _between(mask.root, place):
                covers.setdefault(ancestor, PIN)
        if covers.get(place) != HIDE:
            covers[place] = HIDE if mask.kind == "secret" else READ_ONLY
    return tuple(Cover(path, how) for path, how in sorted(covers.items()))


def put_up(covers: tuple[Cover, ...]) -> None:
    """Move this process into a mount namespace of its own with these mounts in it. Raises OSError."""
    namespaces.enter_own_mounts()
    mounts.receive_mounts_only()
    put_over(covers)


def put_over(covers: tuple[Cover, ...]) -> None:
    """Make these mounts in the mount namespace that this process has for itself. Raises OSError."""
    _hang(covers, _prepare(covers))


def put_back(covers: tuple[Cover, ...], user: int, mount: int) -> None:
    """Move this process into a session's namespaces, and make these mounts there. Raises OSError.

    Other processes live there. They must neither see what only prepares, nor have a hand in it.
    """
    namespaces.join(user, mount)
    namespaces.copy_mounts()
    mounts.receive_mounts_only()
    prepared = _prepare(covers)
    namespaces.enter_mounts(mount)
    _hang(covers, prepared)


def _prepare(covers: tuple[Cover, ...]) -> list[int]:
    """For each path to hide, something empty that cannot be opened, as a mount that hangs nowhere yet.

    Copied from a file system that is mounted meanwhile, over a directory that is always there: from one that hangs
    nowhere older kernels copy nothing.
    """
    prepared: list[int] = []
    hidden = [cover for cover in covers if cover.how == HIDE]
    if not hidden:
        return prepared
    kinds = [stat.S_ISDIR(os.lstat(cover.path).st_mode) for cover in hidden]
    mounts.mount_scratch(_SCRATCH)
    root = os.open(_SCRATCH, os.O_PATH | os.O_CLOEXEC)
    os.mkdir("directory", 0o000, dir_fd=root)
    os.close(os.open("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o000, dir_fd=root))
    for is_directory in kinds:
        source = os.open("directory" if is_directory else "file", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
        prepared.append(mounts.copy_tree(source, attributes=mounts.READ_ONLY))
        os.close(source)
    os.close(root)
    mounts.detach(_SCRATCH)
    return prepared


def _hang(covers: tuple[Cover, ...], prepared: list[int]) -> None:
    """Outer ones first. The kernel refuses a file over a directory, and the other way round."""
    remaining = iter(prepared)
    for cover in covers:
        if cover.how in _OWN:
            mounts.mount_memory(cover.path) if cover.how == MEMORY else mounts.mount_terminals(cover.path)
            continue
        target = mounts.open_exactly(cover.path)
        if stat.S_ISLNK(os.fstat(target).st_mode):
            raise OSError(errno.ELOOP, f"a link has taken the place of {cover.path}")
        hides = cover.how == HIDE
        tree = (
            next(remaining)
            if hides
            else mounts.copy_tree(target, attributes=mounts.READ_ONLY if cover.how == READ_ONLY else 0)
        )
        mounts.hang(tree, target)
        os.close(tree)
        os.close(target)


def make_placeholders(masks: Iterable[Mask], temporary_directory: str) -> list[str]:
    """Put an empty directory wherever something protected is missing, so that a mount can keep its place.

    Returns those made, for `remove_placeholders`. Raises OSError.
    """
    made: list[str] = []
    for mask in (_real(mask, temporary_directory) for mask in masks if mask.kind == "protected"):
        while not (found := _settle(mask.path))[1]:
            try:
                _beneath(found[0], lambda name, parent: os.mkdir(name, 0o700, dir_fd=parent))
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
            _beneath(place, lambda name, parent: os.rmdir(name, dir_fd=parent))
        except OSError:
            pass  # somebody outside has put something there, or taken it away


def _beneath(path: str, act: Callable[[str, int], None]) -> None:
    """Act on a name in its directory, to which no link may lead: an agent may be at work there."""
    parent = mounts.open_exactly(os.path.dirname(path))
    try:
        act(os.path.basename(path), parent)
    finally:
        os.close(parent)


def mount_points(process: int) -> set[str]:
    """Every place where something is mounted in the namespace of a process, as it names them."""
    with open(f"/proc/{process}/mountinfo", "rb") as file:
        names = (line.split(b" ", 5)[4] for line in file)
        return {os.fsdecode(re.sub(_ESCAPE, lambda found: bytes([int(found[1], 8)]), name)) for name in names}


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
