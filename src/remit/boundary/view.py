"""The session's view of the file system: a root of its own in which there is what the scope grants, and nothing else.

Landlock refuses every mount to whoever it keeps to files, and so to each program that brings a sandbox of mounts
(docs/decisions/0024). Where the scope lets such programs be, files are walled by this instead: in a mount namespace of
the session's own, each grant is bound at its own path, with no more rights than it has, on a root that is otherwise
empty and read-only. What is masked is covered on top (`mask_mounts`). Nothing inside has a capability over these
mounts: a user namespace that a program makes is another one, and there the kernel keeps all of them locked together.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping

from remit.boundary import mask_mounts
from remit.boundary.mask_mounts import TERMINALS, Cover
from remit.kernel import mounts, namespaces
from remit.kernel.paths import is_inside
from remit.plain import Data
from remit.plan import PathGrant

_SCRATCH = "/proc"  # always there, and granted in every view
_TERMINAL_MAKER, _OWN_TERMINAL_MAKER = "/dev/ptmx", "pts/ptmx"
# Programs put what they mount over directories that everybody has. They are empty, unless they are granted.
_ALWAYS = ("/tmp",)


class Bound(Data):
    """One tree or file of the view, with the rights that all grants around it give together."""

    path: str
    access: tuple[str, ...]


def lay_out(grants: Iterable[PathGrant], sockets: Iterable[str], temporary_directory: str) -> tuple[Bound, ...]:
    """What is bound, outer ones first; what an outer one holds already with the same rights is left out.

    `sockets`: path-named ones that may be connected to. Nothing about them may be written, for connecting does not.
    """
    wanted: dict[str, set[str]] = {}
    for grant in grants:
        path = grant.path.replace("$TMPDIR", temporary_directory)
        path = os.path.realpath(path) if path != grant.path else path
        wanted.setdefault(path, set()).update(grant.access)
    for path in sockets:
        wanted.setdefault(path.replace("$TMPDIR", temporary_directory), set())
    found: list[Bound] = []
    for path in sorted(wanted):
        access = set[str]().union(*(given for tree, given in wanted.items() if is_inside(path, tree)))
        around = max((bound for bound in found if is_inside(path, bound.path)), key=lambda b: len(b.path), default=None)
        if around is None or access != set(around.access):
            found.append(Bound(path, tuple(sorted(access))))
    return tuple(found)


def put_up(bounds: tuple[Bound, ...], covers: tuple[Cover, ...]) -> None:
    """Move this process into a mount namespace with this view as its root, and these masks in it. Raises OSError."""
    namespaces.enter_own_mounts()
    mounts.keep_mounts_apart()
    trees = _copy(bounds)
    links = _links(trees)
    mounts.mount_root(_SCRATCH)
    for path, target in links.items():
        _make_parents(path)
        os.symlink(target, _SCRATCH + path)
    own_terminals = any(cover.how == TERMINALS for cover in covers)
    for path, tree in trees.items():
        if path == _TERMINAL_MAKER and own_terminals:
            # The node finds its terminals by the directory that it lies in, and has none when it is bound alone.
            _make_parents(path)
            os.symlink(_OWN_TERMINAL_MAKER, _SCRATCH + path)
        else:
            _hang(path, tree, trees)
        os.close(tree)
    for path in _ALWAYS:
        if not os.path.lexists(_SCRATCH + path):
            os.makedirs(_SCRATCH + path, 0o755)
    root = os.open(_SCRATCH, os.O_PATH | os.O_CLOEXEC)
    mounts.restrict(root, mounts.READ_ONLY, beneath=False)
    os.close(root)
    mounts.change_root(_SCRATCH)
    mask_mounts.put_over(covers)


def _copy(bounds: Iterable[Bound]) -> dict[str, int]:
    """Each of them that is there, as a mount that hangs nowhere yet and has its rights."""
    trees: dict[str, int] = {}
    for bound in bounds:
        try:
            source = mounts.open_exactly(bound.path)
        except FileNotFoundError:
            continue  # gone since it was looked at: what is not there is the narrower wall
        status = os.fstat(source)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, f"a link has taken the place of {bound.path}")
        trees[bound.path] = mounts.copy_tree(source, attributes=_attributes(bound, status.st_mode))
        os.close(source)
    return trees


def _attributes(bound: Bound, mode: int) -> int:
    attributes = mounts.NO_SETUID
    if "write" not in bound.access:
        attributes |= mounts.READ_ONLY
    if "execute" not in bound.access:
        attributes |= mounts.NO_PROGRAMS
    # A device is there only where the scope names it, or its directory in /dev.
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or is_inside(bound.path, "/dev")):
        attributes |= mounts.NO_DEVICES
    return attributes


def _links(trees: Mapping[str, int]) -> dict[str, str]:
    """The links that lie beside what is bound, such as /bin and /etc/os-release: paths go on leading where they led.

    A link that leads to what is not in the view leads nowhere. Directories that all users share are not looked at.
    """
    around = {"/"}
    for path in trees:
        while (path := os.path.dirname(path)) != "/":
            if any(is_inside(path, tree) for tree in trees):
                break
            around.add(path)
    found: dict[str, str] = {}
    for directory in around:
        try:
            if os.stat(directory).st_mode & stat.S_ISVTX:
                continue
            with os.scandir(directory) as entries:
                found.update({entry.path: os.readlink(entry.path) for entry in entries if entry.is_symlink()})
        except OSError:
            continue  # not for this user to look into, or gone meanwhile
    return found


def _hang(path: str, tree: int, trees: Mapping[str, int]) -> None:
    """Bind a tree at its own path: on a new name, or in an outer tree on what is there already."""
    if not any(path != outer and is_inside(path, outer) for outer in trees):
        _make_parents(path)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.makedirs(_SCRATCH + path, 0o755, exist_ok=True)
        else:
            os.close(os.open(_SCRATCH + path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    target = mounts.open_exactly(_SCRATCH + path)
    mounts.hang(tree, target)
    os.close(target)


def _make_parents(path: str) -> None:
    os.makedirs(_SCRATCH + os.path.dirname(path), 0o755, exist_ok=True)
