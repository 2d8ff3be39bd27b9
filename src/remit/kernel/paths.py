"""Path-only descriptors: where a path leads, resolved by the kernel under the same rules as the caller's own call."""

from __future__ import annotations

import ctypes
import os
import struct

from remit.kernel.libc import SYS_OPENAT2, system_call

# openat2(2): how a path may be resolved (include/uapi/linux/openat2.h).
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20
_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
HOW_SIZE = _HOW.size


def open_how(raw: bytes) -> tuple[int, int]:
    """The flags and the resolve flags of a struct open_how."""
    flags, _, resolve = _HOW.unpack(raw)
    return flags, resolve


def open_path(path: str, directory: int | None, *, no_follow: bool = False, resolve: int = 0) -> int:
    """A descriptor (O_PATH) of what `path` names, seen from `directory`; the caller closes it. Raises OSError."""
    flags = os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if no_follow else 0)
    if not resolve:
        return os.open(path, flags, dir_fd=directory)
    name, how = (
        ctypes.create_string_buffer(os.fsencode(path)),
        ctypes.create_string_buffer(_HOW.pack(flags, 0, resolve)),
    )
    start = -1 if directory is None else directory
    return system_call(SYS_OPENAT2, start, name, how, _HOW.size, what="openat2")


def path_of(descriptor: int) -> str:
    """The path of a descriptor of our own. Raises OSError with ENAMETOOLONG when it is longer than a page."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def mount_of(descriptor: int) -> str:
    """The number of the mount that a descriptor of our own leads to, as mountinfo gives it (proc_pid_mountinfo(5))."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as lines:
        return next((line.split()[1] for line in lines if line.startswith("mnt_id:")), "")


def is_mounted_here(descriptor: int) -> bool:
    """Whether a descriptor of our own leads into our own mount namespace."""
    number = mount_of(descriptor).encode("ascii")
    with open("/proc/self/mountinfo", "rb") as lines:
        return any(line.partition(b" ")[0] == number for line in lines)


def is_inside(path: str, tree: str) -> bool:
    """Whether `path` is `tree` or lies beneath it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")
