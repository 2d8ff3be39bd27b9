"""Metadata as programs change it: metadata.py all DIRECTORY, or metadata.py race ACT OWN FORBIDDEN TIMES."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from attempt import libc, main, system_call


def _told(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as problem:
        return os.strerror(problem.errno or 0)
    return "done"


def all_of_it(directory: str) -> dict[str, Any]:
    """Every way to change a file's metadata, right and wrong, and what came of each: the same bare and inside."""
    os.chdir(directory)
    with open("file", "w", encoding="utf-8") as file:
        number = file.fileno()
        os.symlink("file", "link")
        os.symlink("missing", "dangling")
        os.mkdir("directory")
        here = os.open("directory", os.O_RDONLY)
        gone = os.open("gone", os.O_CREAT | os.O_RDWR)
        os.unlink("gone")
        reader, _writer = os.pipe()
        memory = os.memfd_create("memory")
        own = os.getuid(), os.getgid()
        said = {
            "chmod": _told(lambda: os.chmod("file", 0o640)),
            "chmod with more bits": _told(lambda: os.chmod("file", 0o4751)),
            "chmod by link": _told(lambda: os.chmod("link", 0o604)),
            "chmod from a directory": _told(lambda: os.chmod("../file", 0o644, dir_fd=here)),
            "chmod of nothing": _told(lambda: os.chmod("missing", 0o644)),
            "chmod of a dangling link": _told(lambda: os.chmod("dangling", 0o644)),
            "chmod through a file": _told(lambda: os.chmod("file/x", 0o644)),
            "chmod of a long name": _told(lambda: os.chmod("x" * 300, 0o644)),
            "chmod of a bad address": _told(lambda: system_call(90, 1, 0o644)),
            "fchmod": _told(lambda: os.fchmod(number, 0o600)),
            "fchmod of a directory": _told(lambda: os.fchmod(here, 0o750)),
            "fchmod of what is gone": _told(lambda: os.fchmod(gone, 0o600)),
            "fchmod of a pipe": _told(lambda: os.fchmod(reader, 0o600)),
            "fchmod of memory": _told(lambda: os.fchmod(memory, 0o600)),
            "fchmod of nothing": _told(lambda: os.fchmod(999, 0o600)),
            "chmod of a descriptor's name": _told(lambda: os.chmod(f"/proc/self/fd/{number}", 0o640)),
            "chmod of the name of what is gone": _told(lambda: os.chmod(f"/dev/fd/{gone}", 0o640)),
            "chmod of memory's name": _told(lambda: os.chmod(f"/proc/self/fd/{memory}", 0o640)),
            "chmod of a pipe's name": _told(lambda: os.chmod(f"/proc/thread-self/fd/{reader}", 0o640)),
            "chmod of no descriptor's name": _told(lambda: os.chmod("/proc/self/fd/999", 0o640)),
            "chown": _told(lambda: os.chown("file", *own)),
            "chown to nobody": _told(lambda: os.chown("file", 65534, -1)),
            "chown of nothing at all": _told(lambda: os.chown("file", -1, -1)),
            "lchown": _told(lambda: os.lchown("link", *own)),
            "fchown": _told(lambda: os.fchown(number, -1, own[1])),
            "utime": _told(lambda: os.utime("file", (1, 2))),
            "utime of a link": _told(lambda: os.utime("link", (3, 4), follow_symlinks=False)),
            "utime now": _told(lambda: os.utime("directory")),
            "futimens": _told(lambda: os.utime(number, ns=(5_000_000_006, 7_000_000_008))),
            "utimes": _told(lambda: system_call(235, b"link", ctypes.create_string_buffer(bytes([9]) + bytes(31)))),
            "utimes out of range": _told(lambda: system_call(235, b"file", ctypes.create_string_buffer(b"\x7f" * 32))),
            "an attribute": _told(lambda: os.setxattr("file", "user.a", b"value")),
            "an attribute again": _told(lambda: os.setxattr("file", "user.a", b"more", os.XATTR_CREATE)),
            "an empty attribute": _told(lambda: os.setxattr(number, "user.b", b"")),
            "an attribute of a link": _told(lambda: os.setxattr("dangling", "user.c", b"x", follow_symlinks=False)),
            "an attribute of no kind": _told(lambda: os.setxattr("file", "x" * 300, b"x")),
            "no attribute": _told(lambda: os.removexattr("file", "user.none")),
            "an attribute less": _told(lambda: os.removexattr(number, "user.a")),
        }
        for name in ("file", "link", "directory"):
            status = os.lstat(name)
            said[name] = f"{stat.S_IMODE(status.st_mode):o} {status.st_uid}"
            if name != "directory":
                said[f"{name}'s times"] = f"{status.st_mtime_ns}"
        said["attributes"] = " ".join(os.listxattr("file"))
    return said


def race(act: str, own: str, forbidden: str, times: str) -> dict[str, int]:
    """Change the mode of `own/file` while something else is put in its place: its path, a link on it, a descriptor."""
    shown = ctypes.create_string_buffer(b"O/file")
    for left in ("O", "F", "swapped", "swapped-new"):  # by the round before
        with contextlib.suppress(FileNotFoundError):
            os.unlink(left)
    os.symlink(own, "O")
    os.symlink(forbidden, "F")
    os.symlink(own, "swapped")
    one, other = (os.open(f"{place}/file", os.O_RDONLY) for place in (own, forbidden))
    slot = os.dup(one)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            if act == "path":
                shown[0] = b"F"
                shown[0] = b"O"
            elif act == "number":
                os.dup2(other, slot)
                os.dup2(one, slot)
            else:
                for target in (forbidden, own):
                    os.symlink(target, "swapped-new")
                    os.rename("swapped-new", "swapped")

    thread = threading.Thread(target=swap)
    thread.start()
    found: Counter[str] = Counter(done=0, refused=0)
    for _ in range(int(times)):
        ctypes.set_errno(0)
        if act == "number":
            result = libc.fchmod(slot, 0o600)
        else:
            result = libc.chmod(shown if act == "path" else b"swapped/file", 0o600)
        found["done" if result == 0 else "refused" if ctypes.get_errno() == 1 else "other"] += 1
    over.set()
    thread.join()
    return dict(found)


if __name__ == "__main__":
    main({"all": all_of_it, "race": race})
