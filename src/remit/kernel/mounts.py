"""Mounts by descriptor (open_tree(2), move_mount(2), mount_setattr(2), 5.12): what was opened is what is covered.

No path is looked up twice, so nothing that is swapped meanwhile is covered in its place.
"""

from __future__ import annotations

import ctypes
import os
import struct

from remit.kernel.libc import MACHINE, libc_call, system_call

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = 155 if MACHINE == "x86_64" else 41
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
READ_ONLY, NO_SETUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8  # MOUNT_ATTR_*
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE, _MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 18, 1 << 19
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


def keep_mounts_apart() -> None:
    """What is mounted outside later does not appear here, nor the other way round."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)


def mount_root(directory: str) -> None:
    """A file system in memory over `directory`, for a root that holds nothing but names."""
    _mount("remit", directory, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=0755,size=16m,nr_inodes=16k")


def change_root(directory: str) -> None:
    """Make the file system mounted at `directory` the root of this mount namespace, and detach the old one."""
    os.chdir(directory)
    # The old root comes to lie on the new one, and is what the working directory then names (pivot_root(2)).
    system_call(_SYS_PIVOT_ROOT, _here(), _here(), what=f"pivot_root {directory}")
    detach(".")
    os.chdir("/")


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


def copy_tree(source: int, *, attributes: int = 0) -> int:
    """What `source` names, with everything mounted beneath it, as a mount that hangs nowhere yet."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH | _AT_RECURSIVE
    tree = system_call(_SYS_OPEN_TREE, source, _empty(), flags, what="open_tree")
    if attributes:
        try:
            restrict(tree, attributes, beneath=True)
        except OSError:
            os.close(tree)
            raise
    return tree


def restrict(mount: int, attributes: int, *, beneath: bool) -> None:
    """Set attributes (READ_ONLY, …) of the mount whose root `mount` names, and of all that is mounted beneath it."""
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    structure = ctypes.create_string_buffer(packed, len(packed))
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if beneath else 0)
    system_call(_SYS_MOUNT_SETATTR, mount, _empty(), flags, structure, len(packed), what="mount_setattr")


def hang(tree: int, target: int) -> None:
    """Put a mount from `copy_tree` over what `target` names, in the namespace of this process."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    system_call(_SYS_MOVE_MOUNT, tree, _empty(), target, _empty(), flags, what="move_mount")


def _empty() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(b"")


def _here() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(b".")


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
