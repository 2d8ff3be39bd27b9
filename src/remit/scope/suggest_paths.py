"""From the paths that were used to the few that a person would write: no path twice, siblings as their directory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

FEW = 3  # siblings from here on are granted as their directory
# Never granted whole: too much lies beneath that has nothing to do with a task.
_WIDE = frozenset({
    *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root"),
    *("/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/cache", "/var/lib", "/var/log", "/var/run"),
    *("/var/spool", "/var/tmp", "/run/user", "/dev/shm", "/dev/pts", "/usr/local", "/usr/share", "/usr/lib"),
})  # fmt: skip
_WIDE_AT_HOME = ("", "/.config", "/.local", "/.local/share", "/.local/state", "/.local/lib", "/.cache")


@dataclass(frozen=True, slots=True)
class Tree:
    """A path to grant, and which of the paths that were used lie in it."""

    path: str
    covers: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    path: str
    used: bool = False
    children: dict[str, _Node] = field(default_factory=dict)


def is_inside(path: str, tree: str) -> bool:
    """Whether `path` is `tree` or lies beneath it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def is_wide(path: str, home: str) -> bool:
    """Whether a directory holds too much to be granted whole."""
    return path in _WIDE or is_inside(home, path) or any(path == home + part for part in _WIDE_AT_HOME)


def few_trees(paths: Iterable[str], *, home: str, closed: Iterable[str]) -> list[Tree]:
    """The trees to grant for these paths. A directory with a closed path (a secret) inside is never one of them."""
    root = _Node("/")
    for path in paths:
        node = root
        for part in path.strip("/").split("/"):
            node = node.children.setdefault(part, _Node(f"{node.path.rstrip('/')}/{part}"))
        node.used = True
    shut = tuple(closed)

    def may_be_granted(path: str) -> bool:
        return not is_wide(path, home) and not any(is_inside(place, path) for place in shut)

    def gather(node: _Node) -> list[Tree]:
        below = [tree for _, child in sorted(node.children.items()) for tree in gather(child)]
        covered = tuple(path for tree in below for path in tree.covers)
        if node.used:
            return [Tree(node.path, (node.path, *covered))]
        if len(below) >= FEW and may_be_granted(node.path):
            return [Tree(node.path, covered)]
        return below

    return gather(root)
