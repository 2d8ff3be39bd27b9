"""outer_filter.py COMMAND...: runs a command as in a stock Docker container, as far as system calls go.

What Docker's default seccomp profile refuses to a container without added capabilities, on x86-64. The profile is an
allow-list; what is refused of the calls that exist is the same thing the other way round, and short enough to read.
"""

from __future__ import annotations

import os
import sys

import pyseccomp

EPERM, ENOSYS = 1, 38
CLONE_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
AF_VSOCK = 40
REFUSED = {
    "kernel": "acct bpf init_module finit_module delete_module kexec_load kexec_file_load lookup_dcookie "
    "perf_event_open quotactl reboot swapon swapoff syslog sysfs uselib userfaultfd ustat vhangup _sysctl",
    "time": "clock_settime settimeofday",
    "hardware": "ioperm iopl",
    "keys": "add_key keyctl request_key",
    "memory policy": "get_mempolicy mbind set_mempolicy migrate_pages move_pages",
    "mounts and namespaces": "chroot mount umount2 pivot_root setns unshare sethostname setdomainname",
    "new mounts": "fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr",
    "other processes": "kcmp pidfd_getfd process_madvise",
    "files": "fanotify_init open_by_handle_at",
    "rings": "io_uring_setup io_uring_enter io_uring_register",
}
# libseccomp 2.5 knows these by number only.
NUMBERS = {"process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443}
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)


def install() -> None:
    """Put the filter on this process."""
    outer = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for names in REFUSED.values():
        for name in names.split():
            outer.add_rule(pyseccomp.ERRNO(EPERM), NUMBERS.get(name, name))
    for flag in CLONE_NAMESPACES:
        outer.add_rule(pyseccomp.ERRNO(EPERM), "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    outer.add_rule(pyseccomp.ERRNO(ENOSYS), "clone3")
    outer.add_rule(pyseccomp.ERRNO(EPERM), "socket", pyseccomp.Arg(0, pyseccomp.EQ, AF_VSOCK))
    outer.load()


if __name__ == "__main__":
    install()
    os.execvp(sys.argv[1], sys.argv[1:])
