"""Every way to a path that a mask takes back from a granted tree: masks.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
from collections.abc import Callable
from typing import Any

from attempt import attempt, libc, main, system_call

RENAMEAT2, MOUNT, UMOUNT2, UNSHARE, MOVE_MOUNT, OPEN_TREE, MOUNT_SETATTR = 316, 165, 166, 272, 429, 428, 442
EXCHANGE = 2
MS_BIND, MS_REMOUNT = 0x1000, 0x20
MNT_DETACH = 2


def text(value: str) -> ctypes.c_char_p:
    return ctypes.c_char_p(os.fsencode(value))


def exchange(one: str, other: str) -> None:
    system_call(RENAMEAT2, -100, text(one), -100, text(other), EXCHANGE)


def read(path: str, directory: int | None = None) -> str:
    with open(os.open(path, os.O_RDONLY, dir_fd=directory), encoding="utf-8") as file:
        return file.read()


def write(path: str, directory: int | None = None) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory))


def from_directory(act: Callable[..., Any], path: str) -> Any:
    holder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    return act(os.path.basename(path), holder)


def by_symlink(act: Callable[..., Any], path: str) -> Any:
    link = os.path.join(os.environ["TMPDIR"], f"link-{os.getpid()}")
    os.symlink(path, link)
    try:
        return act(link)
    finally:
        os.unlink(link)


def reads(path: str) -> dict[str, int]:
    """The errno of each way to read the file `path`; 0 where it was read."""
    beside = path + ".other"
    return {
        "open": attempt(read, path),
        "copy": attempt(shutil.copyfile, path, beside),
        "root of self": attempt(read, "/proc/self/root" + path),
        "root of a thread": attempt(read, f"/proc/{os.getpid()}/task/{os.getpid()}/root{path}"),
        "current directory": attempt(from_directory, read, path),
        "dots": attempt(read, os.path.join(os.path.dirname(path), "..", *path.rsplit("/", 2)[1:])),
        "symlink": attempt(by_symlink, read, path),
        "path-only": attempt(reopen, path),
        "hard link": attempt(os.link, path, beside),
        "rename": attempt(os.rename, path, beside),
        "exchange": attempt(exchange, path, __file__),
        "chmod": attempt(os.chmod, path, 0o600),
        "chown": attempt(os.chown, path, os.getuid(), os.getgid()),
        "truncate": attempt(os.truncate, path, 0),
        "write": attempt(write, path),
        "unlink": attempt(os.unlink, path),
        "run": attempt(os.execv, path, [path]),
    }


def reopen(path: str) -> None:
    read(f"/proc/self/fd/{os.open(path, os.O_PATH)}")


def changes(path: str) -> dict[str, int]:
    """The errno of each way to change or make what is protected at `path`, and to put something else in its place."""
    beside = path + ".other"
    return {
        "write": attempt(write, path),
        "append": attempt(lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))),
        "root of self": attempt(write, "/proc/self/root" + path),
        "current directory": attempt(from_directory, write, path),
        "symlink": attempt(by_symlink, write, path),
        "truncate": attempt(os.truncate, path, 0),
        "chmod": attempt(os.chmod, path, 0o777),
        "utime": attempt(os.utime, path),
        "xattr": attempt(os.setxattr, path, "user.x", b"1"),
        "rename away": attempt(os.rename, path, beside),
        "rename over": attempt(os.rename, made(beside), path),
        "exchange": attempt(exchange, made(beside), path),
        "unlink": attempt(os.unlink, path),
        "rmdir": attempt(os.rmdir, path),
        "hard link": attempt(os.link, path, beside + "2"),
        "make a directory": attempt(os.mkdir, path),
        "make a link": attempt(os.symlink, "/", path),
        "make a pipe": attempt(os.mkfifo, path),
        "make beneath": attempt(write, path + "/x"),
    }


def made(path: str) -> str:
    write(path)
    return path


def moves(directory: str) -> dict[str, int]:
    """The errno of each way to move a directory on the way to a mask."""
    other = directory + ".other"
    os.makedirs(other, exist_ok=True)
    return {
        "rename": attempt(os.rename, directory, other + "/moved"),
        "exchange": attempt(exchange, directory, other),
        "remove": attempt(os.rmdir, directory),
        "replace": attempt(os.rename, other, directory),
        "rename by itself": attempt(lambda: os.rename(".", other, src_dir_fd=os.open(directory, os.O_PATH))),
    }


def lifts(path: str) -> dict[str, int]:
    """The errno of each way to lift the mount from `path` or to put another over it."""
    descriptor = os.open(path, os.O_PATH)
    return {
        "umount": attempt(system_call, UMOUNT2, text(path), 0),
        "detach": attempt(system_call, UMOUNT2, text(path), MNT_DETACH),
        "mount over": attempt(system_call, MOUNT, text("none"), text(path), text("tmpfs"), 0, 0),
        "bind": attempt(system_call, MOUNT, text("/"), text(os.environ["TMPDIR"]), 0, MS_BIND, 0),
        "remount": attempt(system_call, MOUNT, 0, text(path), 0, MS_BIND | MS_REMOUNT, 0),
        "open tree": attempt(system_call, OPEN_TREE, -100, text("/"), 1),
        "move mount": attempt(system_call, MOVE_MOUNT, descriptor, text(""), -100, text("/tmp"), 4),
        "attributes": attempt(system_call, MOUNT_SETATTR, -100, text(path), 0, struct.pack("=QQQQ", 0, 1, 0, 0), 32),
        "new namespaces": attempt(system_call, UNSHARE, 0x10000000 | 0x20000),
        "chroot": attempt(os.chroot, "/"),
    }


def privileges() -> dict[str, str]:
    """What /proc says of this process's capabilities and of who it is."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {name: found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")} | {
        "namespace": os.readlink("/proc/self/ns/user"),
        "user": str(os.getuid()),
        "owner": str(os.stat(__file__).st_uid),
    }


def dumpable_memory() -> int:
    """Whether the process may read its own /proc files, as every program may."""
    libc.prctl(3, 0, 0, 0, 0)
    with open("/proc/self/environ", "rb") as file:
        return len(file.read())


main({act.__name__: act for act in (reads, changes, moves, lifts, privileges, dumpable_memory)})
