"""Says which wall holds what on a host, how strongly, and what is missing; every absence has a name."""

from __future__ import annotations

from collections.abc import Container, Iterable

from remit.boundary.grants import FileGrants
from remit.boundary.host import Host
from remit.boundary.masks import Masks, is_covered
from remit.plan import CgroupLimits, Gap, Limits, Wall
from remit.scope.gaps import GAPS

KERNEL, SUPERVISOR, POLLED = "kernel", "supervisor", "polled"

# pids.max counts threads too, and honest programs have many; the supervisor counts processes (docs/decisions/0025).
_TASKS_FOR_EACH = 64
# What hangs on grants. The other walls keep off what no scope can grant, and stand while observing too.
OBSERVED = frozenset({
    "files", "metadata", "tcp", "device-ioctl", "addresses", "unix-sockets", "processes", "tasks", "cpu", "memory",
    "wall-time", "open-files", "file-size",
})  # fmt: skip


def find_walls(
    host: Host, limits: Limits, masks: Masks, *, observe: bool = False, view: bool = False
) -> tuple[Wall, ...]:
    """The walls of this plan on this host; while observing, those that hang on grants are not held."""
    abi = host.landlock_abi
    cgroup = cgroup_limits(host, limits)
    walls = [
        ("files", KERNEL, abi >= 1),
        ("masks", KERNEL, bool(masks.covered)),
        ("metadata", SUPERVISOR, True),
        ("tcp", KERNEL, abi >= 4),
        ("device-ioctl", KERNEL, abi >= 5 and not view),
        ("signals", KERNEL if has_signal_scope(host) else SUPERVISOR, True),
        ("abstract-sockets", KERNEL, abi >= 6),
        ("addresses", SUPERVISOR, True),
        ("unix-sockets", SUPERVISOR, True),
        ("images", SUPERVISOR, True),
        ("socket-kinds", KERNEL, True),
        ("system-calls", KERNEL, True),
        ("privileges", KERNEL, True),
        ("environment", KERNEL, True),
        ("processes", SUPERVISOR, limits.processes is not None),
        ("tasks", KERNEL, limits.processes is not None and cgroup is not None and host.cgroup_pids),
        ("cpu", POLLED, limits.cpu is not None),
        ("memory", KERNEL if cgroup is not None and host.cgroup_memory else POLLED, limits.memory is not None),
        ("wall-time", POLLED, limits.wall is not None),
        ("open-files", KERNEL, limits.open_files is not None),
        ("file-size", KERNEL, limits.file_size is not None),
    ]
    return tuple(
        Wall(name, strength, not (observe and name in OBSERVED)) for name, strength, present in walls if present
    )


def cgroup_limits(host: Host, limits: Limits, *, observe: bool = False) -> CgroupLimits | None:
    """What the session's own cgroups are held to, or None without any. While observing there is nothing to hold.

    Without Landlock an agent of the same user could write there, and then a cgroup would be no wall.
    """
    if not host.cgroup or host.landlock_abi < 1:
        return None
    if observe:
        return CgroupLimits()
    tasks = None if limits.processes is None else limits.processes * _TASKS_FOR_EACH
    return CgroupLimits(limits.memory if host.cgroup_memory else None, tasks if host.cgroup_pids else None)


def has_signal_scope(host: Host) -> bool:
    """Whether Landlock keeps signals within the session. Where it does not, each of them is a question."""
    return host.landlock_abi >= 6


def has_truncate_right(host: Host) -> bool:
    """Whether Landlock keeps files outside the grants from being cut. Where it does not, the deputy cuts."""
    return host.landlock_abi >= 3


def find_gaps(
    host: Host,
    files: FileGrants,
    masks: Masks,
    accepted: Container[str],
    *,
    sight: str = "normal",
    view: bool = False,
) -> tuple[Gap, ...]:
    """The gaps of this plan on this host, wall gaps first."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _missing_rights(host.landlock_abi):
        found[name] = ()
    if view:
        found["files-by-mounts"] = ()
    if masks.open_secrets:
        found["secret-inside-grant"] = masks.open_secrets
    if masks.open_protected:
        found["protected-inside-grant"] = masks.open_protected
    if is_covered("/proc", files.grants, "read"):
        found["proc-readable"] = ()
    if is_covered("/proc", files.grants, "write"):
        found["proc-writable"] = ()
    own = {mask.path for mask in masks.covered}
    if is_covered("/dev/pts", files.grants, "write") and "/dev/pts" not in own:
        found["terminals-shared"] = ()
    if is_covered("/dev/shm", files.grants, "write") and "/dev/shm" not in own:
        found["shared-memory-shared"] = ()
    if sight == "normal":
        found["reads-unseen"] = ()
    if not host.take_descriptors:
        found["sockets-not-taken"] = ()
    if host.beneath_filter:
        found["refusals-unseen"] = ()
    if files.missing:
        found["grant-missing"] = files.missing
    return tuple(_gap(name, details, accepted) for name, details in found.items())


def _gap(name: str, details: tuple[str, ...], accepted: Container[str]) -> Gap:
    kind = GAPS[name]
    shown = " ".join(details[:3]) + (f" and {len(details) - 3} more" if len(details) > 3 else "")
    reason = f"{kind.reason}: {shown}" if details else kind.reason
    return Gap(name, kind.kind, name in accepted, reason, kind.hint)


def _missing_rights(abi: int) -> Iterable[str]:
    if abi < 1:
        # Renames, truncate and device ioctl are parts of the wall that is missing altogether.
        yield "files-unwalled"
    else:
        for name, needed in (("refer-unwalled", 2), ("device-ioctl-unwalled", 5)):
            if abi < needed:
                yield name
    for name, needed in (("network-unwalled", 4), ("abstract-sockets-unwalled", 6)):
        if abi < needed:
            yield name
