"""Mounts by descriptor (open_tree(2), move_mount(2), mount_setattr(2), 5.12): what was opened is what is covered.

No path is looked up twice, so nothing that is swapped meanwhile is covered in its place.
"""

from __future__ import annotations

import ctypes
import os
import struct

from remit.kernel.libc import libc_call, system_call

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_MOUNT_ATTR_RDONLY = 1
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 19
_MNT_DETACH = 2
# O_PATH differs on no architecture remit runs on, but Python has it only as a name of os.
_PATH_ONLY = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW


def open_exactly(path: str) -> int:
    """A path-only descriptor of `path`, in which no component may be a symbolic link; raises OSError, ELOOP for one."""
    how = struct.pack("=QQQ", _PATH_ONLY, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    name = ctypes.create_string_buffer(os.fsencode(path))
    structure = ctypes.create_string_buffer(how, len(how))
    return system_call(_SYS_OPENAT2, _AT_FDCWD, name, structure, len(how), what=f"openat2 {path}")


def receive_mounts_only() -> None:
    """What is mounted outside later still appears here; what is mounted here stays here."""
    _mount("none", "/", None, _MS_REC | _MS_SLAVE, None)


def mount_scratch(directory: str) -> None:
    """A small file system in memory over `directory`."""
    _mount("remit", directory, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=0700,size=64k,nr_inodes=8")


def mount_memory(directory: str) -> None:
    """An empty file system in memory over `directory`, which everybody in this namespace may use, as /dev/shm is."""
    _mount("remit", directory, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")


def mount_terminals(directory: str) -> None:
    """Pseudo-terminals of this namespace's own over `directory`; /dev/ptmx beside it makes them there (devpts)."""
    _mount("remit", directory, "devpts", _MS_NOSUID | _MS_NOEXEC, "ptmxmode=0666,mode=0620")


def detach(path: str) -> None:
    """Take a mount away from its place; what was opened beneath it stays usable."""
    libc_call("umount2", ctypes.c_char_p(os.fsencode(path)), _MNT_DETACH, what=f"umount2 {path}")


def copy_tree(source: int, *, read_only: bool) -> int:
    """What `source` names, with everything mounted beneath it, as a mount that hangs nowhere yet."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE
    tree = system_call(_SYS_OPEN_TREE, source, _empty(), flags, what="open_tree")
    if read_only:
        attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
        structure = ctypes.create_string_buffer(attributes, len(attributes))
        flags = _AT_EMPTY_PATH | _AT_RECURSIVE
        try:
            system_call(_SYS_MOUNT_SETATTR, tree, _empty(), flags, structure, len(attributes), what="mount_setattr")
        except OSError:
            os.close(tree)
            raise
    return tree


def hang(tree: int, target: int) -> None:
    """Put a mount from `copy_tree` over what `target` names, in the namespace of this process."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    system_call(_SYS_MOVE_MOUNT, tree, _empty(), target, _empty(), flags, what="move_mount")


def _empty() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(b"")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    libc_call(
        "mount",
        ctypes.c_char_p(source.encode()),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_char_p(None if kind is None else kind.encode()),
        ctypes.c_ulong(flags),
        ctypes.c_char_p(None if data is None else data.encode()),
        what=f"mount {target}",
    )
