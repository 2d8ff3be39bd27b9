"""Names that programs with mounts of their own use are told as the session has them, or not at all.

A program that brings a sandbox of mounts may bind anything that it has under any name. So what it names is looked up
from its own root, by its own rules, and what was found is told by the name under which the very same file is found
outside. The session's view has everything at its own path, so that is the name in there too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from remit.kernel import paths, proc
from remit.plain import Data

# Cited where what the deputy would do hangs on a path, which only its caller could look up.
CLAUSE = "nested-sandbox: mount: where a program has mounts of its own, no path-named socket is bound or connected to"
NAMELESS = "…/"  # begins what is known of a path that has no name here, or a longer one than the kernel can tell
_MOUNTS_MAX = 4096

_session: list[int] = []  # the mount namespace of a session with a view, as its inode


class _Mount(Data):
    device: str
    root: str  # of the mount, in its file system
    point: str


def has_view(mount_namespace: int) -> None:
    """Say that the session has a view, and by a descriptor in which mount namespace; the descriptor stays open."""
    _session[:] = [os.fstat(mount_namespace).st_ino]


def applies() -> bool:
    """Whether the session has a view."""
    return bool(_session)


def is_foreign(thread: int) -> bool:
    """Whether a thread has mounts of its own, in a session that has a view."""
    if not _session:
        return False
    try:
        return os.stat(f"/proc/{thread}/ns/mnt").st_ino not in _session
    except OSError:
        return True  # it died, or cannot be looked at: then nothing is taken for granted


def is_hidden(thread: int, path: str) -> bool:
    """Whether what a thread does not find is there outside, and only not in the session's view."""
    return bool(_session) and path.startswith("/") and not is_foreign(thread) and os.path.lexists(path)


def open_foreign(thread: int, start: str, name: str, *, no_follow: bool) -> int:
    """A descriptor (O_PATH) of what `name` is for a thread, beneath its own root, seen from `start` if it is relative.

    Raises OSError. `start` is one of the thread's own places in /proc.
    """
    root = paths.open_path(f"/proc/{thread}/root", None)
    try:
        path = name if name.startswith("/") else f"{place_of(start)}/{name}"
        return paths.open_path(path, root, no_follow=no_follow, resolve=paths.RESOLVE_IN_ROOT)
    finally:
        os.close(root)


def own_name(thread: int, descriptor: int) -> str | None:
    """The name that the session has for what a thread's mounts hold and `descriptor` names; None when it has none.

    What was handed over from other mounts than the thread's, or is reached by /proc/PID/root, has none. Raises OSError.
    """
    found = paths.path_of(descriptor)
    if not _session or not found.startswith("/"):
        return found  # or no file: a pipe, a socket
    mount = _mount_of(thread, descriptor)
    if mount is not None and not is_foreign(thread):
        return found
    if mount is None or not paths.is_inside(found, mount.point):
        return None
    inner = f"{mount.root.rstrip('/')}/{found[len(mount.point.rstrip('/')) :].lstrip('/')}".rstrip("/") or "/"
    status = os.fstat(descriptor)
    outside = [outer for _, outer in _mounts("self")]
    for outer in sorted(outside, key=lambda m: len(m.root), reverse=True):
        if outer.device == mount.device and paths.is_inside(inner, outer.root):
            name = f"{outer.point.rstrip('/')}/{inner[len(outer.root.rstrip('/')) :].lstrip('/')}".rstrip("/") or "/"
            if _is_same(name, status):
                return name
    return None


def name_of(thread: int, place: str) -> str:
    """What one of a thread's own places in /proc is, such as its working directory. Raises OSError."""
    if not _session:
        return os.readlink(place)
    held = paths.open_path(place, None)
    try:
        return own_name(thread, held) or NAMELESS + paths.path_of(held).lstrip("/")
    finally:
        os.close(held)


def is_own(thread: int, descriptor: int) -> bool:
    """Whether what a descriptor names lies in a file system that was mounted inside, and is not there outside."""
    mount = _mount_of(thread, descriptor)
    return mount is not None and all(outer.device != mount.device for _, outer in _mounts("self"))


def place_of(start: str) -> str:
    """Where one of a thread's own places in /proc is, as its mounts have it. Raises OSError."""
    held = paths.open_path(start, None)
    try:
        return paths.path_of(held).rstrip("/")
    finally:
        os.close(held)


def _is_same(name: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(name), status)
    except OSError:
        return False


def _mount_of(thread: int, descriptor: int) -> _Mount | None:
    wanted = paths.mount_of(descriptor)
    return next((mount for number, mount in _mounts(thread) if number == wanted), None)


def _mounts(thread: int | str) -> Iterator[tuple[str, _Mount]]:
    """Each with its number (proc_pid_mountinfo(5)); only the first of very many, for a program may make as it likes."""
    with open(f"/proc/{thread}/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for line in itertools.islice(lines, _MOUNTS_MAX):
            number, _, device, root, point = line.split(" ")[:5]
            yield number, _Mount(device, proc.unescape_mount(root), proc.unescape_mount(point))
