"""Namespaces of one's own (user_namespaces(7), mount_namespaces(7)): enter a new one, or one of a process below."""

from __future__ import annotations

import os

from remit.kernel.libc import libc_call

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000


def enter_own_mounts() -> None:
    """Move this single-threaded process into a mount namespace of its own, in which it may mount.

    A user who may not make one makes a user namespace around it, in which that user and group mean themselves and all
    others look like `nobody`. Must come before the process turns non-dumpable, which gives its /proc files to root.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        libc_call("unshare", _CLONE_NEWNS, what="unshare CLONE_NEWNS")
        return
    except PermissionError:
        pass  # the usual case: not root
    libc_call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS, what="unshare CLONE_NEWUSER")
    # Without this no group may be mapped by a user without privilege (user_namespaces(7)).
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def copy_mounts() -> None:
    """Move this process into a copy of the mount namespace that it is in."""
    libc_call("unshare", _CLONE_NEWNS, what="unshare CLONE_NEWNS")


def open_own() -> tuple[int, int]:
    """Descriptors of this process's user and mount namespaces, for `join` elsewhere."""
    return os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC), os.open(
        "/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC
    )


def join(user: int, mounts: int) -> None:
    """Move this single-threaded process into namespaces that a process of the same user made."""
    if os.fstat(user).st_ino != os.stat("/proc/self/ns/user").st_ino:  # joining one's own is an error
        libc_call("setns", user, _CLONE_NEWUSER, what="setns CLONE_NEWUSER")
    enter_mounts(mounts)


def enter_mounts(mounts: int) -> None:
    """Move this process into a mount namespace of the user namespace that it is in."""
    libc_call("setns", mounts, _CLONE_NEWNS, what="setns CLONE_NEWNS")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
