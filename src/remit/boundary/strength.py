"""Says which wall holds what on a host, how strongly, and what is missing; every absence has a name."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

from remit.boundary.grants import FileGrants, is_inside
from remit.boundary.host import Host
from remit.plan import Gap, Limits, PathGrant, Wall
from remit.scope.gaps import GAPS

KERNEL, SUPERVISOR, POLLED = "kernel", "supervisor", "polled"

# What hangs on grants. The other walls keep off what no scope can grant, and stand while observing too.
OBSERVED = frozenset({
    "files", "tcp", "device-ioctl", "addresses", "unix-sockets", "processes", "cpu", "memory", "wall-time",
    "open-files", "file-size",
})  # fmt: skip


def find_walls(host: Host, limits: Limits, *, observe: bool = False) -> tuple[Wall, ...]:
    """The walls of this plan on this host; while observing, those that hang on grants are not held."""
    abi = host.landlock_abi
    walls = [
        ("files", KERNEL, abi >= 1),
        ("tcp", KERNEL, abi >= 4),
        ("device-ioctl", KERNEL, abi >= 5),
        ("signals", KERNEL, abi >= 6),
        ("abstract-sockets", KERNEL, abi >= 6),
        ("addresses", SUPERVISOR, True),
        ("unix-sockets", SUPERVISOR, True),
        ("images", SUPERVISOR, True),
        ("socket-kinds", KERNEL, True),
        ("system-calls", KERNEL, True),
        ("privileges", KERNEL, True),
        ("environment", KERNEL, True),
        ("processes", SUPERVISOR, limits.processes is not None),
        ("cpu", POLLED, limits.cpu is not None),
        ("memory", POLLED, limits.memory is not None),
        ("wall-time", POLLED, limits.wall is not None),
        ("open-files", KERNEL, limits.open_files is not None),
        ("file-size", KERNEL, limits.file_size is not None),
    ]
    return tuple(
        Wall(name, strength, not (observe and name in OBSERVED)) for name, strength, present in walls if present
    )


def find_gaps(
    host: Host, files: FileGrants, accepted: Container[str], *, sight: str = "normal", observe: bool = False
) -> tuple[Gap, ...]:
    """The gaps of this plan on this host, wall gaps first."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _missing_rights(host.landlock_abi):
        found[name] = ()
    secrets = [s for s in files.secrets if _readable(s) and _covering(s, files.grants, "read")]
    if secrets and not observe:
        found["secret-inside-grant"] = tuple(secrets)
    protected = [p for p in files.protected if _covering(p, files.grants, "write")]
    if protected and not observe:
        found["protected-inside-grant"] = tuple(protected)
    found["metadata-unwalled"] = ()
    if _covering("/dev/pts", files.grants, "write"):
        found["terminals-shared"] = ()
    if _covering("/dev/shm", files.grants, "write"):
        found["shared-memory-shared"] = ()
    if sight == "normal":
        found["reads-unseen"] = ()
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
        for name, needed in (("refer-unwalled", 2), ("truncate-unwalled", 3), ("device-ioctl-unwalled", 5)):
            if abi < needed:
                yield name
    for name, needed in (("network-unwalled", 4), ("signals-unwalled", 6), ("abstract-sockets-unwalled", 6)):
        if abi < needed:
            yield name


def _covering(path: str, grants: Iterable[PathGrant], access: str) -> bool:
    return any(access in grant.access and is_inside(path, grant.path) for grant in grants)


def _readable(path: str) -> bool:
    """Whether plain permissions leave a secret open to this user; what is not there has nothing to lose."""
    try:
        status = os.stat(path)
    except PermissionError:
        return False  # a directory above it refuses
    except OSError:
        return False
    # An owner who is refused by the mode can change the mode.
    return status.st_uid == os.getuid() or os.access(path, os.R_OK)
