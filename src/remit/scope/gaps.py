"""Every gap that a plan can have, by the name that accepts it, with what it means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

WALL, SIGHT = "wall", "sight"


@dataclass(frozen=True, slots=True)
class GapKind:
    """What is true of a gap wherever it occurs."""

    kind: str
    reason: str
    hint: str


_NEWER = "boot a newer kernel, or accept the gap by name"

GAPS: dict[str, GapKind] = {
    "files-unwalled": GapKind(
        WALL,
        "this kernel has no Landlock, so nothing keeps the agent to its files",
        "enable Landlock (lsm=landlock,... on the kernel command line), or accept the gap by name",
    ),
    "refer-unwalled": GapKind(
        WALL, "Landlock below ABI 2 refuses every rename and link between directories, granted or not", _NEWER
    ),
    "truncate-unwalled": GapKind(WALL, "Landlock below ABI 3 cannot stop truncate on files outside the grants", _NEWER),
    "network-unwalled": GapKind(
        WALL, "Landlock below ABI 4 has no TCP wall; only the supervisor stands before connect and bind", _NEWER
    ),
    "device-ioctl-unwalled": GapKind(
        WALL, "Landlock below ABI 5 cannot stop ioctl on devices that were opened for reading", _NEWER
    ),
    "signals-unwalled": GapKind(
        WALL, "Landlock below ABI 6 cannot stop signals to other processes of this user", _NEWER
    ),
    "abstract-sockets-unwalled": GapKind(
        WALL, "Landlock below ABI 6 has no wall for abstract sockets; only the supervisor stands before connect", _NEWER
    ),
    "secret-inside-grant": GapKind(
        WALL,
        "a secret lies inside a granted tree, and Landlock cannot take back a part of what it grants",
        "move the secret out of the granted tree, or grant narrower paths",
    ),
    "protected-inside-grant": GapKind(
        WALL,
        "a protected path lies inside a writable tree, and Landlock cannot take back a part of what it grants",
        "grant narrower paths in files.write",
    ),
    "metadata-unwalled": GapKind(
        WALL,
        "chmod, chown, utime, extended attributes and watches (inotify) of this user's files outside the grants are"
        " not walled",
        "run the agent as a user of its own",
    ),
    "terminals-shared": GapKind(
        WALL,
        "/dev/pts is granted whole, so terminals of this user's other sessions can be opened",
        "run the agent as a user of its own",
    ),
    "shared-memory-shared": GapKind(
        WALL,
        "/dev/shm is granted whole, so shared memory of this user's other programs can be opened",
        "leave the preset python out, or run the agent as a user of its own",
    ),
    "reads-unseen": GapKind(
        SIGHT,
        "refused reads are stopped by the kernel without a record",
        "remit run --sight full",
    ),
    "grant-missing": GapKind(SIGHT, "a path that the scope lets the agent read does not exist", ""),
}

NAMES = tuple(GAPS)
WALL_NAMES = tuple(name for name, gap in GAPS.items() if gap.kind == WALL)
