"""Attempts by system call number: what reaches the machine, the kernel's own tables, or other processes' memory.

Each call is made with arguments that do no harm where it gets through, and that the kernel would answer with something
other than a refusal wherever it looks at them first. Many of these calls the kernel refuses by itself to whoever has
no capability; that the wall stood before it shows only in the record, so each needs one.
"""

from __future__ import annotations

import errno
import os

from remit.attempts.attempt import Attempt, GotThrough, Outside, Witness
from remit.kernel import raw
from remit.kernel.libc import MACHINE

_BAD = 1  # no address
_NAMES: dict[str, dict[str, tuple[int | bytes, ...]]] = {
    "memory": {
        "process_madvise": (-1, 0, 0, 0, 0),
        "migrate_pages": (0, 0, 0, 0),
        "move_pages": (0, 0, 0, 0, 0, 0),
    },
    "keys": {
        "keyctl": (0, -3, 0),  # KEYCTL_GET_KEYRING_ID of the session's
        "add_key": (b"user", b"remit", b"x", 1, -1),
        "request_key": (b"user", b"remit", 0, 0),
    },
    "kernel": {
        "bpf": (0, _BAD, 4096),
        "perf_event_open": (_BAD, 0, -1, -1, 1 << 40),
        "userfaultfd": (1,),  # UFFD_USER_MODE_ONLY, which anybody may
        "fanotify_init": (0x200, 0),  # FAN_REPORT_FID, which anybody may
        "syslog": (10, 0, 0),
        "lookup_dcookie": (0, _BAD, 0),
        "nfsservctl": (0, 0, 0),
    },
    "modules": {
        "init_module": (_BAD, 0, _BAD),
        "finit_module": (-1, _BAD, 0),
        "delete_module": (_BAD, 0),
        "kexec_load": (0, 1 << 20, _BAD, 0),
        "kexec_file_load": (-1, -1, 0, _BAD, 0),
    },
    "mounts": {
        "mount": (_BAD, _BAD, _BAD, 0, 0),
        "umount2": (_BAD, 1 << 20),
        "pivot_root": (_BAD, _BAD),
        "chroot": (b"/remit-no-such-directory",),
        "fsopen": (_BAD, 0),
        "fsconfig": (-1, 0, 0, 0, 0),
        "fsmount": (-1, 0, 0),
        "fspick": (-1, _BAD, 0),
        "move_mount": (-1, _BAD, -1, _BAD, 0),
        "open_tree": (-1, _BAD, 1 << 30),
        "open_tree_attr": (-1, _BAD, 0, 0, 8),
        "mount_setattr": (-1, _BAD, 1 << 30, 0, 0),
    },
    "machine": {
        "swapon": (_BAD, 1 << 30),
        "swapoff": (_BAD,),
        "reboot": (0, 0, 0, 0),
        "acct": (_BAD,),
        "quotactl": (0, 0, 0, 0),
        "quotactl_fd": (-1, 0, 0, 0),
        "vhangup": (),
        "sethostname": (_BAD, 1),
        "setdomainname": (_BAD, 1),
        "settimeofday": (_BAD, 0),
        "clock_settime": (-1, _BAD),
        "clock_adjtime": (-1, _BAD),
        "adjtimex": (_BAD,),
        "iopl": (0,),
        "ioperm": (0, 1, 0),
        "modify_ldt": (0, _BAD, 0),
    },
}
_TRIES = {
    "memory": "move or drop other processes' memory",
    "keys": "reach the kernel's keyrings",
    "kernel": "watch or program the kernel",
    "modules": "change the kernel's code",
    "mounts": "rearrange the file system",
    "machine": "change the machine for everybody",
}


def _call(name: str, *arguments: int | bytes) -> Attempt:
    group = next(group for group, calls in _NAMES.items() if name in calls)
    return Attempt(
        f"call-{name}",
        "system-calls",
        _TRIES[group],
        name,
        lambda outside: raw.call(name, *arguments),
        Witness("privilege", name),
        refusals=(errno.EPERM,),
    )


def _io_uring(name: str, *arguments: int | raw.Memory) -> Attempt:
    return Attempt(
        name.replace("_", "-"), "system-calls", "system calls that no filter sees", name,
        lambda outside: raw.call(name, *arguments), Witness("privilege", name), refusals=(errno.ENOSYS, errno.EPERM),
    )  # fmt: skip


def _listener(outside: Outside) -> None:
    """A filter with a listener of its own would answer in the supervisor's place."""
    allow = raw.Memory(bytes((6, 0, 0, 0, 0, 0, 0xFF, 0x7F)))
    program = raw.Memory((1).to_bytes(8, "little") + allow.address.to_bytes(8, "little"))
    os.close(raw.call("seccomp", 1, 8, program))


def _undumpable(outside: Outside) -> None:
    raw.call("prctl", 4, 0, 0, 0, 0)
    if raw.call("prctl", 3, 0, 0, 0, 0) == 0:
        raise GotThrough("it can no longer be read")
    raise OSError(errno.EPERM, "without effect")


def _foreign(code: str) -> Attempt:
    kind = {"cd80": "int80", "0f05": "x32"}[code]
    # getpid by i386's table, or by x32's: mov eax, NUMBER; the gate; ret
    number = "14000000" if kind == "int80" else "27000040"

    def act(outside: Outside) -> None:
        result = raw.execute(bytes.fromhex(f"b8{number}{code}c3"))
        raise GotThrough(f"it answered {result}")

    return Attempt(
        kind, "system-calls", "a table of calls that the filter does not number", f"{kind} getpid", act, killed_by=31
    )


ATTEMPTS = (
    *(_call(name, *arguments) for calls in _NAMES.values() for name, arguments in calls.items()
      if raw.number(name) is not None),
    _io_uring("io_uring_setup", 8, raw.Memory(bytes(120))),
    _io_uring("io_uring_enter", -1, 0, 0, 0, 0, 0),
    _io_uring("io_uring_register", -1, 0, 0, 0),
    Attempt("second-listener", "system-calls", "answer one's own questions", "seccomp NEW_LISTENER", _listener,
            Witness("privilege", "seccomp"), refusals=(errno.EBUSY,)),
    Attempt("undumpable", "system-calls", "become unreadable", "prctl PR_SET_DUMPABLE", _undumpable),
    Attempt("subreaper", "system-calls", "hide whose child an orphan is", "prctl PR_SET_CHILD_SUBREAPER",
            lambda o: raw.call("prctl", 36, 1, 0, 0, 0), Witness("privilege", "prctl")),
    *((_foreign("cd80"), _foreign("0f05")) if MACHINE == "x86_64" else ()),
)  # fmt: skip
