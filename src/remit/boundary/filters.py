"""One seccomp filter, the same bytes for one machine and sight: allow by default, ask what matters, kill foreign ABIs.

The table below is decided from registers alone. The kernel reads most integer arguments as 32 bits, so a comparison
either masks the upper half or sends a dirty upper half to the supervisor as a question; it never lets one through.
libseccomp compiles the table (it knows both ABIs, the x32 hole and 64-bit compares); we only write rules.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from typing import Any

from remit.errors import BoundaryError
from remit.plain import Data

MACHINES = ("x86_64", "aarch64")
NORMAL, FULL = "normal", "full"  # what can be seen: in full sight every open and change of a name is a question

INT = 0xFFFFFFFF  # the part of a register that the kernel reads as int

# Operators, in libseccomp's terms.
BITS = "bits"  # register & mask == value
OTHER = "other"  # register != value, all 64 bits
ABOVE = "above"  # register > value, unsigned, all 64 bits
EXACT = "exact"  # register == value, all 64 bits


class Compare(Data):
    """One condition on one register."""

    argument: int
    operator: str
    value: int
    mask: int = 0


class Rule(Data):
    """A system call that does not simply pass when all its conditions hold. `errno` None asks the supervisor."""

    name: str
    conditions: tuple[Compare, ...] = ()
    errno: int | None = None


def compile_filter(
    machine: str,
    rules: Sequence[Rule] | None = None,
    *,
    datagrams: bool = False,
    signals: bool = False,
    truncate: bool = False,
    make_sockets: bool = False,
) -> str:
    """The filter as base64 of struct sock_filter[]; raises BoundaryError when libseccomp cannot make it.

    `rules` other than RULES are for a test that takes one away. `datagrams`: UDP sockets may exist, so every send whose
    address the filter cannot see must ask. `signals` and `truncate`: Landlock has no wall for these here, so each asks.
    `make_sockets`: every socket asks, for the supervisor makes it.
    """
    if machine not in MACHINES:
        raise BoundaryError(f"no filter is known for this machine: {machine}", hint="run on x86_64 or aarch64")
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as problem:
        raise BoundaryError(f"cannot load libseccomp: {problem}", hint="apt install libseccomp2") from problem
    try:
        more = (
            *(DATAGRAMS if datagrams else ()),
            *(SIGNALS if signals else ()),
            *(TRUNCATE if truncate else ()),
            *(MAKE_SOCKETS if make_sockets else ()),
        )
        chosen = dict.fromkeys((*(RULES if rules is None else rules), *more))
        return base64.b64encode(_export(pyseccomp, machine, tuple(chosen))).decode()
    except OSError as problem:
        raise BoundaryError(
            f"libseccomp cannot compile the filter: {problem}", hint="libseccomp 2.5 or newer is needed"
        ) from problem


def _bits(argument: int, mask: int, value: int | None = None) -> Compare:
    return Compare(argument, BITS, mask if value is None else value, mask)


def _equal(argument: int, value: int) -> Compare:
    return Compare(argument, BITS, value, INT)


def _each(name: str, *conditions: Compare) -> tuple[Rule, ...]:
    """One rule per condition: any of them asks."""
    return tuple(Rule(name, (condition,)) for condition in conditions)


CLONE_THREAD, CLONE_PARENT, CLONE_FILES = 0x00010000, 0x00008000, 0x00000400
CLOSE_RANGE_UNSHARE = 2
# NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET. CLONE_NEWTIME lies in clone's signal byte: clone3 only.
CLONE_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)

LINEAGE = (
    Rule("execve"),
    Rule("execveat"),
    Rule("fork"),
    Rule("vfork"),
    *_each(
        "clone",
        _bits(0, CLONE_THREAD, 0),
        _bits(0, CLONE_PARENT),
        Compare(0, BITS, CLONE_THREAD, CLONE_THREAD | CLONE_FILES),  # a thread with descriptors of its own
        *(_bits(0, flag) for flag in CLONE_NAMESPACES),
    ),
    Rule("exit_group"),
)

# clone3 keeps its flags in memory, where no filter sees them; libc falls back to clone on ENOSYS.
# What newer calls do to a file's metadata the older ones do as well, and libraries fall back to those.
FALL_BACK = (
    Rule("clone3", errno=38),
    *(Rule(name, errno=38) for name in ("file_setattr", "fchmodat2", "setxattrat", "removexattrat")),
)


def _write_intent(name: str, flags: int) -> tuple[Rule, ...]:
    """O_WRONLY, O_RDWR, both bits (the kernel asks for read and write then), O_CREAT, O_TRUNC."""
    return _each(
        name,
        *(_bits(flags, 0o3, mode) for mode in (1, 2, 3)),
        _bits(flags, 0o100),
        _bits(flags, 0o1000),
    )


# openat2 keeps its flags in memory, so every one asks; only few programs use it.
OPENS = (*_write_intent("open", 1), *_write_intent("openat", 2), Rule("creat"), Rule("openat2"))

# Full sight.
EVERY_OPEN = (Rule("open"), Rule("openat"), Rule("creat"), Rule("openat2"))
CHANGES = tuple(
    Rule(name)
    for name in (
        *("mkdir", "mkdirat", "mknod", "mknodat", "rmdir", "unlink", "unlinkat", "truncate"),
        *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    )
)

# Landlock has no right for these, by path or by descriptor.
METADATA = tuple(
    Rule(name)
    for name in (
        *("chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "fchownat"),
        *("utime", "utimes", "futimesat", "utimensat"),
        *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    )
)

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
TCP = 6
# The kernel takes the type from the low four bits; SOCK_NONBLOCK and SOCK_CLOEXEC lie above, and it refuses the rest.
NOT_STREAM_OR_SEQPACKET = (_bits(1, 1, 0), _bits(1, 2), _bits(1, 8))  # allowed: 0b0001 and 0b0101
NOT_STREAM = (*NOT_STREAM_OR_SEQPACKET, _bits(1, 4))  # allowed: 0b0001
NOT_TCP = (Compare(2, ABOVE, TCP), *(Compare(2, EXACT, protocol) for protocol in range(1, TCP)))

# The allow-list is written as its complement, since libseccomp has no rule priorities. Families are compared in all
# 64 bits: a dirty upper half falls under ABOVE and becomes a question.
SOCKETS = (
    *_each("socket", Compare(0, ABOVE, NETLINK)),
    *_each(
        "socket",
        *(Compare(0, EXACT, family) for family in range(NETLINK) if family not in (UNIX, INET, INET6)),
    ),
    *(Rule("socket", (Compare(0, EXACT, UNIX), kind)) for kind in NOT_STREAM_OR_SEQPACKET),
    *(Rule("socket", (Compare(0, EXACT, family), kind)) for family in (INET, INET6) for kind in NOT_STREAM),
    # UDP, ICMP, SCTP, MPTCP: Landlock's TCP rules cover none of them.
    *(Rule("socket", (Compare(0, EXACT, family), other)) for family in (INET, INET6) for other in NOT_TCP),
    Rule("socket", (Compare(0, EXACT, NETLINK), Compare(2, OTHER, 0))),  # only NETLINK_ROUTE: getaddrinfo needs it
    # A datagram pair can still send to an address of its choice.
    *_each("socketpair", Compare(0, OTHER, UNIX), *NOT_STREAM_OR_SEQPACKET),
)

MSG_FASTOPEN = 0x20000000  # connects without passing Landlock's connect hook

NETWORK = (
    Rule("connect"),
    Rule("bind"),
    Rule("listen"),
    *_each("sendto", Compare(4, OTHER, 0), _bits(3, MSG_FASTOPEN)),
    *_each("sendmsg", _bits(2, MSG_FASTOPEN)),
    *_each("sendmmsg", _bits(3, MSG_FASTOPEN)),
)

# sendmsg keeps its address in memory, and whether there is one.
DATAGRAMS = (Rule("sendmsg"), Rule("sendmmsg"))

# Where the supervisor cannot take a socket from its process, it makes it.
MAKE_SOCKETS = (Rule("socket"),)

F_SETFL, F_SETOWN, F_SETOWN_EX, O_ASYNC = 4, 8, 15, 0o20000
FIOSETOWN, SIOCSPGRP, FIOASYNC = 0x8901, 0x8902, 0x5452

# Where Landlock has no scope for signals (below ABI 6). The kernel also sends them by itself, to whom an open file
# belongs: fcntl and ioctl say who that is, and a terminal belongs to whatever runs in front of it.
SIGNALS = (
    *(Rule(name) for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")),
    *_each("fcntl", _equal(1, F_SETOWN), _equal(1, F_SETOWN_EX)),
    Rule("fcntl", (_equal(1, F_SETFL), _bits(2, O_ASYNC))),
    *_each("ioctl", _equal(1, FIOSETOWN), _equal(1, SIOCSPGRP), _equal(1, FIOASYNC)),
)

# Where Landlock has no right for it (below ABI 3), in every sight. Opens that truncate ask anyway.
TRUNCATE = (Rule("truncate"),)

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
# A descriptor that may only read is enough for these (ioctl_fs), and Landlock sees none of them: a file's flags, its
# generation, its end as a file that can be written (fs-verity), and a directory's encryption.
FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FAT_IOCTL_SET_ATTRIBUTES = 0x40086602, 0x401C5820, 0x40047211
FS_IOC_SETVERSION, EXT4_IOC_SETVERSION = 0x40087602, 0x40086604
FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY = 0x40806685, 0x800C6613
# What btrfs makes of a tree, or makes in a directory: copies of it, subvolumes, and their removal.
BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SNAP_CREATE_V2 = 0x50009401, 0x50009417
BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_SUBVOL_CREATE_V2 = 0x5000940E, 0x50009418
BTRFS_IOC_SNAP_DESTROY, BTRFS_IOC_SNAP_DESTROY_V2 = 0x5000940F, 0x5000943F
BTRFS_IOC_SUBVOL_SETFLAGS, BTRFS_IOC_SET_RECEIVED_SUBVOL = 0x4008941A, 0xC0C89425
FILE_REQUESTS = (
    *(FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FAT_IOCTL_SET_ATTRIBUTES, FS_IOC_SETVERSION, EXT4_IOC_SETVERSION),
    *(FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY),
    *(BTRFS_IOC_SNAP_CREATE, BTRFS_IOC_SNAP_CREATE_V2, BTRFS_IOC_SUBVOL_CREATE, BTRFS_IOC_SUBVOL_CREATE_V2),
    *(BTRFS_IOC_SNAP_DESTROY, BTRFS_IOC_SNAP_DESTROY_V2, BTRFS_IOC_SUBVOL_SETFLAGS, BTRFS_IOC_SET_RECEIVED_SUBVOL),
)
F_SETLEASE, F_UNLCK, F_SETDELEG = 1024, 2, 1040
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8

IPPROTO_IP, IPPROTO_IPV6 = 0, 41
IP_OPTIONS, IPV6_2292RTHDR, IPV6_2292PKTOPTIONS, IPV6_RTHDR = 4, 5, 6, 57

# A source route sends packets somewhere else than to the address that was judged (ip(7), ipv6(7)).
ROUTES = (
    Rule("setsockopt", (_equal(1, IPPROTO_IP), _equal(2, IP_OPTIONS))),
    *(
        Rule("setsockopt", (_equal(1, IPPROTO_IPV6), _equal(2, option)))
        for option in (IPV6_2292RTHDR, IPV6_2292PKTOPTIONS, IPV6_RTHDR)
    ),
)

NARROW = (
    *_each("prctl", _equal(0, PR_SET_DUMPABLE), _equal(0, PR_SET_CHILD_SUBREAPER)),
    *_each("ioctl", *(_equal(1, request) for request in (TIOCSTI, TIOCLINUX, *FILE_REQUESTS))),
    # A lease on a file that may only be read makes all who open it wait, the supervisor too (fcntl(2)).
    *(Rule("fcntl", (_equal(1, F_SETLEASE), _bits(2, INT, kind))) for kind in (0, 1)),
    Rule("fcntl", (_equal(1, F_SETDELEG),)),
    *_each("close_range", _bits(2, CLOSE_RANGE_UNSHARE)),
    *_each("seccomp", _bits(1, SECCOMP_FILTER_FLAG_NEW_LISTENER)),
)

# Landlock does not keep these off a neighbour of the same uid. Zero means the caller itself.
NEIGHBOURS = (
    *_each("prlimit64", Compare(0, OTHER, 0)),
    *_each("sched_setaffinity", Compare(0, OTHER, 0)),
    *_each("sched_setscheduler", Compare(0, OTHER, 0)),
    *_each("sched_setparam", Compare(0, OTHER, 0)),
    *_each("sched_setattr", Compare(0, OTHER, 0)),
    *_each("setpriority", Compare(0, OTHER, 0), Compare(1, OTHER, 0)),  # PRIO_PROCESS is 0
    *_each("ioprio_set", Compare(0, OTHER, 1), Compare(1, OTHER, 0)),  # IOPRIO_WHO_PROCESS is 1
)

DANGEROUS = tuple(
    Rule(name)
    for name in (
        # other processes' memory, descriptors and secrets
        *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
        *("migrate_pages", "move_pages", "keyctl", "add_key", "request_key"),
        # ways around filters and Landlock
        *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("setns", "unshare", "open_by_handle_at", "fanotify_init"),
        # mounts
        *("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount"),
        *("open_tree", "open_tree_attr", "mount_setattr"),
        # the machine
        *("swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load"),
        *("init_module", "finit_module", "delete_module", "acct", "quotactl", "quotactl_fd", "iopl", "ioperm"),
        *("modify_ldt", "vhangup", "syslog", "sethostname", "setdomainname"),
        *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "nfsservctl", "lookup_dcookie"),
        # System V and POSIX queues, semaphores and shared memory reach outsiders and no wall of ours names them
        *("shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl"),
        *("semget", "semop", "semtimedop", "semctl", "mq_open", "mq_unlink"),
    )
)

_IN_EVERY_SIGHT = (*LINEAGE, *FALL_BACK, *METADATA, *SOCKETS, *NETWORK, *ROUTES, *NARROW, *NEIGHBOURS, *DANGEROUS)

RULES: tuple[Rule, ...] = (*_IN_EVERY_SIGHT, *OPENS)
FULL_RULES: tuple[Rule, ...] = (*_IN_EVERY_SIGHT, *EVERY_OPEN, *CHANGES)
SIGHTS: dict[str, tuple[Rule, ...]] = {NORMAL: RULES, FULL: FULL_RULES}

# Every call that may become a question, for whoever turns a number back into a name.
QUESTIONS: tuple[str, ...] = tuple(
    dict.fromkeys(rule.name for rules in (*SIGHTS.values(), SIGNALS, TRUNCATE) for rule in rules if rule.errno is None)
)

# Numbers since Linux 5.1 are the same on every architecture; an older libseccomp does not know these names.
RECENT_NUMBERS = {
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_setattr": 469,
}


def resolve(pyseccomp: Any, machine: str, name: str) -> int | None:
    """The number of a system call on `machine`, or None when it has none there."""
    number: int = pyseccomp.resolve_syscall(_architecture(pyseccomp, machine), name)
    if number >= 0:
        return number
    return RECENT_NUMBERS.get(name)


def _architecture(pyseccomp: Any, machine: str) -> int:
    # pyseccomp's own AARCH64 and X86_64 constants are AUDIT_ARCH values, which is what libseccomp takes.
    value: int = pyseccomp.Arch.X86_64 if machine == "x86_64" else pyseccomp.Arch.AARCH64
    return value


def _export(pyseccomp: Any, machine: str, rules: Sequence[Rule]) -> bytes:
    # Level 5 knows user notification. Set, not probed: the bytes must not depend on where they are compiled.
    pyseccomp.set_api(5)
    compiled = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    compiled.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    compiled.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a binary tree over the numbers: every call pays for it
    wanted, native = _architecture(pyseccomp, machine), pyseccomp.system_arch()
    if wanted != native:
        compiled.add_arch(wanted)
        compiled.remove_arch(native)
    operators = {
        BITS: pyseccomp.MASKED_EQ,
        OTHER: pyseccomp.NE,
        ABOVE: pyseccomp.GT,
        EXACT: pyseccomp.EQ,
    }
    for rule in rules:
        if resolve(pyseccomp, machine, rule.name) is None:
            continue  # fork, open and their like do not exist on aarch64
        number = pyseccomp.resolve_syscall(native, rule.name)
        if number < 0:
            if wanted != native:
                continue  # libseccomp translates between architectures by name, and does not know this one
            number = RECENT_NUMBERS[rule.name]
        action = pyseccomp.NOTIFY if rule.errno is None else pyseccomp.ERRNO(rule.errno)
        compiled.add_rule(
            action,
            number,
            *(
                pyseccomp.Arg(c.argument, operators[c.operator], c.mask, c.value)
                if c.operator == BITS
                else pyseccomp.Arg(c.argument, operators[c.operator], c.value)
                for c in rule.conditions
            ),
        )
    with tempfile.TemporaryFile() as file:
        compiled.export_bpf(file)
        file.seek(0)
        return file.read()
