"""A session's own cgroups: where they can be made is found by trying, the agent alone is in them, and they never stay.

Loaded only where the caller's cgroup lets it make others. The agent cannot leave: no scope grants writing beneath
/sys, where all of them are, and whoever is forked is where its parent is (clone3, which could say otherwise, is
refused).
"""

from __future__ import annotations

import os
import time

from remit.errors import BoundaryError
from remit.kernel import cgroup, proc
from remit.kernel.cgroup import Cgroup
from remit.kernel.paths import is_inside
from remit.plan import CgroupLimits

UNIFIED, MEMORY, PIDS, CPU, FREEZER = "unified", "memory", "pids", "cpuacct", "freezer"
_PREFIX = "remit-session-"
_NEEDED = {
    (1, MEMORY): "memory.limit_in_bytes",
    (1, PIDS): "pids.max",
    (2, MEMORY): "memory.max",
    (2, PIDS): "pids.max",
}
_OWN_LIMITS = ("memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max")
_REMOVE_SECONDS = 2.0
_TRIES = 50
_MOMENT = 0.005


class SessionCgroups:
    """One cgroup for each use, under names as in the kernel: `unified` (v2), `memory`, `pids`, `cpuacct`, `freezer`.

    Several uses may share one. `held`: descriptors whose locks say that the session lives; to be closed with it.
    """

    def __init__(self, by_use: dict[str, Cgroup], held: list[int], limits: CgroupLimits) -> None:
        self._by_use = by_use
        self._held = held
        self.limits_memory = limits.memory is not None
        self._limits_tasks = limits.tasks is not None
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
        """Put a process in all of them, and look whether it is there; what it forks follows. Raises BoundaryError."""
        try:
            for each in dict.fromkeys(self._by_use.values()):
                cgroup.enter(each, pid)
                if pid not in cgroup.members(each):
                    raise OSError(f"{pid} did not come into {each.path}")
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

    def kill(self) -> None:
        """Kill everybody who is in them now; who is frozen dies when thawed."""
        for each in dict.fromkeys(self._by_use.values()):
            try:
                cgroup.kill(each)
            except OSError:
                continue  # it is gone

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

    def tasks_refused(self) -> int:
        """How often the scope's limit kept a process or a thread from being made."""
        try:
            return cgroup.tasks_refused(self._by_use[PIDS]) if self._limits_tasks else 0
        except (OSError, KeyError, ValueError):
            return 0

    def remove(self) -> None:
        """Whoever is left in them is killed first. Does nothing for those that are gone already."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        for each in dict.fromkeys(self._by_use.values()):
            while not _removed(each) and time.monotonic() < deadline:
                self.kill()
                self.thaw()
                time.sleep(_MOMENT)  # who was killed a moment ago is in it until the kernel has taken it apart
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
    name = f"{_PREFIX}trial-{os.urandom(8).hex()}"
    found = set()
    held: dict[Cgroup, list[int]] = {}
    for use, place in _places().items():
        child = Cgroup(place.version, f"{place.path}/{name}")
        try:
            if child not in held:
                held[child] = _make_and_hold(child)
        except OSError:
            continue
        needed = _NEEDED.get((place.version, use))
        if (needed is None or cgroup.has(child, needed)) and cgroup.may_make_children(child):
            found.add(use)
    for child, descriptors in held.items():
        _removed(child)
        for descriptor in descriptors:
            os.close(descriptor)
    return frozenset(found)


def make_session_cgroups(session: str, limits: CgroupLimits) -> SessionCgroups:
    """Empty cgroups named after the session, with these limits. Raises BoundaryError, and then none is left."""
    by_use: dict[str, Cgroup] = {}
    held: list[int] = []
    made: set[Cgroup] = set()
    try:
        places = _places()
        _sweep(places)
        for use, place in places.items():
            child = Cgroup(place.version, f"{place.path}/{_PREFIX}{session}")
            if child not in made:
                made.add(child)
                held += _make_and_hold(child)
            by_use[use] = child
        if limits.memory is not None:
            cgroup.limit_memory(by_use[MEMORY], limits.memory)
        if limits.tasks is not None:
            cgroup.limit_tasks(by_use[PIDS], limits.tasks)
    except (OSError, KeyError) as problem:
        SessionCgroups({child.path: child for child in made}, held, CgroupLimits()).remove()
        raise BoundaryError(
            f"cannot make the session's cgroup: {problem}", hint="remit doctor says what this machine has"
        ) from problem
    return SessionCgroups(by_use, held, limits)


def _places() -> dict[str, Cgroup]:
    """For each use the cgroup that a session's own would be made in."""
    found: dict[str, Cgroup] = {}
    unified: dict[str, Cgroup] = {}
    mounts = proc.cgroup_mounts()
    if not all(is_inside(mount.point, cgroup.ROOT) for mount in mounts):
        return {}  # where a scope may grant writing, a cgroup is no wall
    for own in proc.own_cgroups(mounts):
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
    """Whether the children of a cgroup have a controller; it is turned on for them where that can be.

    Not in one that has processes. Of memory the kernel would refuse it; pids would make it the root of threaded ones.
    """
    try:
        if controller not in cgroup.read(place, "cgroup.controllers").split():
            return False
        if controller not in cgroup.read(place, "cgroup.subtree_control").split():
            if cgroup.members(place) and not cgroup.is_root(place):
                return False
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
    cgroup.make(child)
    for _ in range(_TRIES):
        try:
            descriptor = cgroup.hold(child)
        except FileNotFoundError:
            cgroup.make(child)
            continue
        if descriptor is None:
            time.sleep(_MOMENT)  # they hold it, and will remove it
        elif not os.path.isdir(child.path):
            os.close(descriptor)  # they did so before we held it
        else:
            return [descriptor]
    raise FileNotFoundError(f"it is taken away again and again: {child.path}")


def _sweep(places: dict[str, Cgroup]) -> None:
    """End what sessions left whose launcher and supervisor were both killed: it is ours, and nobody holds it.

    A dot is in the name of every unit of systemd's, whatever somebody has called it.
    """
    found = {name for place in set(places.values()) for name in os.listdir(place.path)}
    names = {name for name in found if name.startswith(_PREFIX) and "." not in name}
    for name in names:
        left = {use: Cgroup(place.version, f"{place.path}/{name}") for use, place in places.items()}
        left = {use: each for use, each in left.items() if os.path.isdir(each.path)}
        held: list[int] = []
        try:
            for each in set(left.values()):
                if not cgroup.is_ours(each) or (descriptor := cgroup.hold(each)) is None:
                    break
                held.append(descriptor)
            else:
                SessionCgroups(left, held, CgroupLimits()).remove()
                continue
        except OSError:
            pass  # somebody else was quicker
        for descriptor in held:
            os.close(descriptor)


def _removed(child: Cgroup) -> bool:
    try:
        cgroup.remove(child)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
