"""Every gap that a plan can have, by the name that accepts it, with what it means and what to do about it."""

from __future__ import annotations

from remit.plain import Data

WALL, SIGHT = "wall", "sight"


class GapKind(Data):
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
    "network-unwalled": GapKind(
        WALL, "Landlock below ABI 4 has no TCP wall; only the supervisor stands before connect and bind", _NEWER
    ),
    "device-ioctl-unwalled": GapKind(
        WALL, "Landlock below ABI 5 cannot stop ioctl on devices that were opened for reading", _NEWER
    ),
    "abstract-sockets-unwalled": GapKind(
        WALL, "Landlock below ABI 6 has no wall for abstract sockets; only the supervisor stands before connect", _NEWER
    ),
    "secret-inside-grant": GapKind(
        WALL,
        "a secret lies inside a granted tree, and no mount can cover it here: Landlock takes back no part of a grant",
        "move the secret out of the granted tree, or run where user namespaces are allowed",
    ),
    "protected-inside-grant": GapKind(
        WALL,
        "a protected path lies inside a writable tree, and no mount can cover it here: Landlock takes back no part",
        "grant narrower paths in files.write, or run where user namespaces are allowed",
    ),
    "proc-readable": GapKind(
        WALL,
        "/proc is granted for reading, so the command lines of other processes can be read",
        "put no secret on a command line, or run the agent as a user of its own with /proc mounted hidepid=2",
    ),
    "proc-writable": GapKind(
        WALL,
        "nested-sandbox: userns and mount let /proc be written, which no wall can narrow to a process's own identity"
        " maps: what /proc lets a user set of the user's other processes can be set, such as how likely they are to be"
        " ended when memory runs out",
        "write nested-sandbox: refuse and switch the program's own sandbox off, or accept the gap by name",
    ),
    "files-by-mounts": GapKind(
        WALL,
        "nested-sandbox: mount walls files by mounts, not by Landlock: pipes where only reading is granted can be"
        " written to, ioctl on devices is not stopped, a file that an outsider opens and hands over is not kept to the"
        " grants, and programs inside may use all of the kernel's code for mounts",
        "write nested-sandbox: refuse and switch the program's own sandbox off, or accept the gap by name",
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
        "refused reads, deletes, renames and new directories are stopped by the kernel without a record",
        "remit run --sight full",
    ),
    "sockets-not-taken": GapKind(
        SIGHT,
        "this container refuses pidfd_getfd, so the agent's sockets are made for it: datagrams, and connects, binds and"
        " listens on sockets that came in some other way, are refused, granted or not; a port that is given back may"
        " stay taken for a second, and only the first bytes from a peer are sampled",
        "give the container CAP_SYS_PTRACE, or a seccomp profile that allows pidfd_getfd",
    ),
    "refusals-unseen": GapKind(
        SIGHT,
        "a seccomp filter was there before remit's, as in a container: what that one refuses never becomes a question,"
        " and leaves no record",
        "",
    ),
    # In no plan: whether there is a notary shows only once the agent runs.
    "evidence-unsigned": GapKind(SIGHT, "the notary is missing or died, so the evidence is not signed to its end", ""),
    "grant-missing": GapKind(SIGHT, "a path that the scope lets the agent read does not exist", ""),
}

NAMES = tuple(GAPS)
WALL_NAMES = tuple(name for name, gap in GAPS.items() if gap.kind == WALL)
