"""What a session leaves where programs outside the boundary run or follow it: well-known places, compared at the end.

Renames, links and modes are no questions in this tier, so what was opened does not tell what is there. Each place is
looked at when the session starts, or before the first opening for writing near it, and again when nobody of the session
is alive. Bounded and cheap: no tree is walked. The content is the agent's: nothing is followed, nothing is interpreted
beyond a few names of settings.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import stat
from typing import Any

from remit.digest import sha256
from remit.plain import Data
from remit.plan import Plan
from remit.supervisor.auto_run import HOME_PLACES, PARTS, PLACES, SYSTEM_PLACES, base_of, places_under

MOST_TREES = 512  # looked at; more are counted in the record
MOST_ENTRIES = 2000  # of one directory
MOST_BYTES = 1 << 20  # read of one file; of a longer one its size must do
_SKIPPED = ("/dev/", "/proc/", "/sys/")


class Found(Data):
    """Something at a place: a fingerprint of what is run or followed, and what that is."""

    kind: str
    mark: str
    detail: str = ""


class Persistence:
    """Remembers what was at the places, and says at the end what is new there."""

    def __init__(self, plan: Plan, home: str) -> None:
        self._granted = [g.path for g in plan.files if "write" in g.access and g.path.startswith("/")]
        self._workspace = plan.workspace
        self._home = home
        self._before: dict[str, dict[str, Found]] = {}
        self._not_looked_at: set[str] = set()
        for tree in self._granted:
            if not f"{tree}/".startswith(_SKIPPED) and os.path.isdir(tree):
                self._remember(tree)
        self._elsewhere = self._survey_elsewhere()

    def opened(self, path: str) -> None:
        """A file is about to be opened for writing, by leave of the scope."""
        base = base_of(path)
        if base is not None and base not in self._before and self._may_write(base):
            self._remember(base)

    def left(self) -> dict[str, Any] | None:
        """The members of the record, or None when nothing is left."""
        found = _changes(self._elsewhere, self._survey_elsewhere())
        for tree, before in self._before.items():
            found |= _changes(before, survey(tree))
        if not found and not self._not_looked_at:
            return None
        return {"left": [found[path] for path in sorted(found)], "trees_not_looked_at": len(self._not_looked_at)}

    def _remember(self, tree: str) -> None:
        if len(self._before) < MOST_TREES:
            self._before[tree] = survey(tree)
        elif len(self._not_looked_at) < MOST_TREES:
            self._not_looked_at.add(tree)

    def _survey_elsewhere(self) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for root, table in ((self._home, HOME_PLACES), ("/", SYSTEM_PLACES)):
            for kind, place in places_under(table):
                if self._may_write(os.path.join(root, place.rstrip("/"))):
                    found |= _look(root, place, kind)
        return found

    def _may_write(self, path: str) -> bool:
        return any(path == tree or path.startswith(tree.rstrip("/") + "/") for tree in self._granted)


def survey(tree: str) -> dict[str, Found]:
    """What is at the places of one tree now, and which of its own entries lead out of it."""
    found: dict[str, Found] = {}
    for name in _entries(tree, links=True):
        path = os.path.join(tree, name)
        if (link := _link_out(path, tree)) is not None:
            found[path] = link
    names = set(_entries(tree))
    for kind, place in places_under(PLACES):
        first = place.partition("/")[0]
        # Most trees hold few of the places, and one listing tells which.
        if first in names or "*" in first or len(names) == MOST_ENTRIES:
            found |= _look(tree, place, kind)
    return found


def _look(tree: str, place: str, kind: str) -> dict[str, Found]:
    """What one place holds. A link that leads out is what is found, and is not followed."""
    found: dict[str, Found] = {}
    paths = [tree]
    *folders, last = place.split("/")
    for folder in folders:
        paths = [path for parent in paths for path in _matching(parent, folder)]
        found |= {path: link for path in paths if (link := _link_out(path, tree)) is not None}
        paths = [path for path in paths if path not in found]
    for parent in paths:
        for path in _matching(parent, last or "*"):
            if kind == "git-hook" and not last and not _is_hook(path):
                continue
            thing = _link_out(path, tree) or _fingerprint(path, kind)
            if thing is not None:
                found[path] = thing
    return found


def _matching(parent: str, name: str) -> list[str]:
    if "*" not in name:
        path = os.path.join(parent, name)
        return [path] if os.path.lexists(path) else []
    return [os.path.join(parent, entry) for entry in fnmatch.filter(_entries(parent), name)]


def _entries(directory: str, *, links: bool = False) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            some = itertools.islice(entries, MOST_ENTRIES)
            return sorted(entry.name for entry in some if not links or entry.is_symlink())
    except OSError:
        return []


def _is_hook(path: str) -> bool:
    """Git runs what is executable, and never its own samples."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    runnable = stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_mode & 0o111)
    return bool(runnable) and not path.endswith(".sample")


def _link_out(path: str, tree: str) -> Found | None:
    try:
        target = os.readlink(path)
    except OSError:
        return None
    real, root = os.path.realpath(path), os.path.realpath(tree)
    return None if real == root or real.startswith(root + "/") else Found("symlink", target, target)


def _fingerprint(path: str, kind: str) -> Found | None:
    try:
        # A link that leads elsewhere inside the tree is opened: what it holds is run all the same.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem:
        return Found(kind, f"unreadable {problem.errno}", "unreadable")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        data = os.read(descriptor, MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    parts = PARTS.get(os.path.basename(path))
    if parts is None:
        return Found(kind, f"{status.st_size} {sha256(data)}")
    settings = parts(data.decode("utf-8", "replace"))
    return Found(kind, repr(sorted(settings.items())), " ".join(sorted(settings))) if settings else None


def _changes(before: dict[str, Found], after: dict[str, Found]) -> dict[str, dict[str, str]]:
    return {
        path: {
            "path": path,
            "class": found.kind,
            "change": "changed" if path in before else "added",
            "detail": found.detail,
        }
        for path, found in after.items()
        if found != before.get(path)
    }
