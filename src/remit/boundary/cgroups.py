"""A session's own cgroups: where they can be made is found by trying, the agent alone is in them, and they never stay.

Loaded only where the caller's cgroup lets it make others. The agent cannot leave: Landlock lets it write nowhere
beneath /sys, and whoever is forked is where its parent is.
"""

from __future__ import annotations

import os
import time

from remit.errors import BoundaryError
from remit.kernel import cgroup, proc
from remit.kernel.cgroup import Cgroup
from remit.plan import CgroupLimits

UNIFIED, MEMORY, PIDS, CPU, FREEZER = "unified", "memory", "pids", "cpuacct", "freezer"
_PREFIX = "remit-"
_NEEDED = {
    (1, MEMORY): "memory.limit_in_bytes",
    (1, PIDS): "pids.max",
    (2, MEMORY): "memory.max",
    (2, PIDS): "pids.max",
}
_OWN_LIMITS = ("memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max")
_REMOVE_SECONDS = 2.0
_TRIES = 5


class SessionCgroups:
    """One cgroup for each use, under names as in the kernel: `unified` (v2), `memory`, `pids`, `cpuacct`, `freezer`.

    Several uses may share one. `held`: descriptors whose locks say that the session lives; to be closed with it.
    """

    def __init__(self, by_use: dict[str, Cgroup], held: list[int], *, limits_memory: bool) -> None:
        self._by_use = by_use
        self._held = held
        self.limits_memory = limits_memory
        self._freezer = by_use.get(UNIFIED) or by_use.get(FREEZER)
        self._cpu = by_use.get(UNIFIED) or by_use.get(CPU)

    @property
    def unified(self) -> str | None:
        """The directory of the session's v2 cgroup, where there is one. Nobody but the zygote's tree is in it."""
        return self._by_use[UNIFIED].path if UNIFIED in self._by_use else None

    def paths(self) -> list[str]:
        """Every directory, once."""
        return list(dict.fromkeys(each.path for each in self._by_use.values()))

    def enter(self, pid: int) -> None:
        """Put a process in all of them; what it forks follows. Raises BoundaryError."""
        try:
            for each in dict.fromkeys(self._by_use.values()):
                cgroup.enter(each, pid)
        except OSError as problem:
            raise BoundaryError(
                f"cannot put the session into its cgroup: {problem}", hint="remit doctor says what this machine has"
            ) from problem

    def members(self) -> set[int]:
        """Who is in the one that freezes; nobody where there is none."""
        try:
            return cgroup.members(self._freezer) if self._freezer else set()
        except OSError:
            return set()

    def freeze(self) -> bool:
        """Begin to freeze everybody; False where that cannot be done."""
        return self._set_frozen(frozen=True)

    def thaw(self) -> bool:
        return self._set_frozen(frozen=False)

    def is_frozen(self) -> bool:
        try:
            return self._freezer is not None and cgroup.is_frozen(self._freezer)
        except OSError:
            return False

    def kill(self) -> bool:
        """Kill everybody at once; False where that cannot be done."""
        try:
            return self._freezer is not None and cgroup.kill(self._freezer)
        except OSError:
            return False

    def cpu_seconds(self) -> float | None:
        """What the kernel has counted, whoever has ended since; None where it does not."""
        try:
            return cgroup.cpu_seconds(self._cpu) if self._cpu else None
        except (OSError, KeyError, ValueError):
            return None

    def ran_out_of_memory(self) -> bool:
        """Whether the scope's limit made the kernel end somebody."""
        try:
            return self.limits_memory and cgroup.ran_out_of_memory(self._by_use[MEMORY])
        except (OSError, KeyError, ValueError):
            return False

    def remove(self) -> None:
        """Whoever is left in them is killed first. Does nothing for those that are gone already."""
        self.thaw()
        self.kill()
        deadline = time.monotonic() + _REMOVE_SECONDS
        for each in dict.fromkeys(self._by_use.values()):
            while not _removed(each) and time.monotonic() < deadline:
                time.sleep(0.005)  # who was killed a moment ago is in it until the kernel has taken it apart
        for descriptor in self._held:
            os.close(descriptor)
        self._held = []

    def _set_frozen(self, *, frozen: bool) -> bool:
        if self._freezer is None:
            return False
        try:
            cgroup.freeze(self._freezer, frozen=frozen)
        except OSError:
            return False
        return True


def what_can_be_had() -> frozenset[str]:
    """The uses for which a session could have a cgroup here; tried by making one of each and looking at it."""
    places = _places()
    name = f"{_PREFIX}trial-{os.getpid()}"
    found = set()
    tried: dict[Cgroup, bool] = {}
    for use, place in places.items():
        child = Cgroup(place.version, f"{place.path}/{name}")
        if child not in tried:
            tried[child] = _made(child)
        needed = _NEEDED.get((place.version, use))
        if tried[child] and (needed is None or cgroup.has(child, needed)) and cgroup.may_make_children(child):
            found.add(use)
    for child, made in tried.items():
        if made:
            _removed(child)
    return frozenset(found)


def make_session_cgroups(session: str, limits: CgroupLimits) -> SessionCgroups:
    """Empty cgroups named after the session, with these limits. Raises BoundaryError, and then none is left."""
    by_use: dict[str, Cgroup] = {}
    held: list[int] = []
    made: set[Cgroup] = set()
    try:
        for use, place in _places().items():
            child = Cgroup(place.version, f"{place.path}/{_PREFIX}{session}")
            if child not in made:
                _sweep(place)
                made.add(child)
                held += _make_and_hold(child)
            by_use[use] = child
        if limits.memory is not None:
            cgroup.limit_memory(by_use[MEMORY], limits.memory)
        if limits.tasks is not None:
            cgroup.limit_tasks(by_use[PIDS], limits.tasks)
    except (OSError, KeyError) as problem:
        SessionCgroups({child.path: child for child in made}, held, limits_memory=False).remove()
        raise BoundaryError(
            f"cannot make the session's cgroup: {problem}", hint="remit doctor says what this machine has"
        ) from problem
    return SessionCgroups(by_use, held, limits_memory=limits.memory is not None)


def _places() -> dict[str, Cgroup]:
    """For each use the cgroup that a session's own would be made in."""
    found: dict[str, Cgroup] = {}
    unified: dict[str, Cgroup] = {}
    for own in proc.own_cgroups():
        if not own.mount.startswith("/sys/"):
            continue  # where a scope may grant writing, a cgroup would be no wall
        if own.version == 2:
            unified = _unified_places(own)
        elif cgroup.may_make_children(place := Cgroup(1, own.directory)):
            found |= {use: place for use in own.controllers if use in (MEMORY, PIDS, CPU, FREEZER)}
    if unified:
        found = {use: place for use, place in found.items() if use not in (CPU, FREEZER)}  # v2 has both by itself
    return found | unified


def _unified_places(own: proc.OwnCgroup) -> dict[str, Cgroup]:
    """In the caller's cgroup, or beside it: below a cgroup that has processes v2 limits nothing (cgroups(7)).

    Beside it only where that leaves no limit behind which the caller is held itself.
    """
    best: dict[str, Cgroup] = {}
    beside = os.path.dirname(own.directory)
    candidates = [own.directory]
    if len(beside) >= len(own.mount) and beside != own.directory and not _is_limited(own.directory):
        candidates.append(beside)
    for path in candidates:
        place = Cgroup(2, path)
        if not cgroup.may_make_children(place):
            continue
        found = {UNIFIED: place} | {use: place for use in (MEMORY, PIDS) if _hands_down(place, use)}
        if len(found) > len(best):
            best = found
    return best


def _hands_down(place: Cgroup, controller: str) -> bool:
    """Whether the children of a cgroup have a controller; it is turned on for them where that can be."""
    try:
        if controller not in cgroup.read(place, "cgroup.controllers").split():
            return False
        if controller not in cgroup.read(place, "cgroup.subtree_control").split():
            cgroup.write(place, "cgroup.subtree_control", f"+{controller}")
    except OSError:
        return False
    return True


def _is_limited(path: str) -> bool:
    for name in _OWN_LIMITS:
        try:
            if not cgroup.read(Cgroup(2, path), name).startswith("max"):
                return True
        except OSError:
            continue  # it has no such controller
    return False


def _make_and_hold(child: Cgroup) -> list[int]:
    """Somebody who sweeps may take it for a dead session's between making and holding; then it is made again."""
    for _ in range(_TRIES):
        cgroup.make(child)
        try:
            descriptor = cgroup.hold(child)
        except FileNotFoundError:
            continue
        if os.path.isdir(child.path):
            return [] if descriptor is None else [descriptor]
        if descriptor is not None:
            os.close(descriptor)
    raise FileNotFoundError(f"it is taken away again and again: {child.path}")


def _sweep(place: Cgroup) -> None:
    """Remove what sessions left that nobody could remove: it is empty, ours, and no session holds it any more."""
    with os.scandir(place.path) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
    for path in left:
        leftover = Cgroup(place.version, path)
        try:
            if os.stat(path).st_uid == os.getuid() and not cgroup.members(leftover):
                descriptor = cgroup.hold(leftover)
                if descriptor is not None:
                    _removed(leftover)
                    os.close(descriptor)
        except OSError:
            continue  # somebody else was quicker


def _made(child: Cgroup) -> bool:
    try:
        cgroup.make(child)
    except OSError:
        return False
    return True


def _removed(child: Cgroup) -> bool:
    try:
        cgroup.remove(child)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
