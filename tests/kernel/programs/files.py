"""Every way to a file that no grant covers: files.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
from pathlib import Path
from typing import Any

from attempt import attempt, libc, main, system_call

MARK = "written from inside"


def read(path: str) -> str:
    return Path(path).read_text()


def list_directory(path: str) -> list[str]:
    return sorted(os.listdir(path))


def write(path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(MARK)


def append(path: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(MARK)


def open_with(flags: str, path: str) -> None:
    os.close(os.open(path, int(flags, 0), 0o600))


def openat2(number: str, flags: str, resolve: str, path: str) -> None:
    how = ctypes.create_string_buffer(struct.pack("=QQQ", int(flags, 0), 0, int(resolve, 0)), 24)
    os.close(system_call(int(number), -100, ctypes.c_char_p(path.encode()), how, 24))


def creat(path: str) -> None:
    if libc.creat(path.encode(), 0o600) < 0:
        raise OSError(ctypes.get_errno(), "creat")


def by_directory(directory: str, name: str) -> None:
    """By a descriptor of the directory, which may be opened path-only without any right."""
    holder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=holder))


def from_directory(directory: str, name: str) -> None:
    os.chdir(directory)
    write(name)


def by_path_only_descriptor(path: str) -> None:
    holder = os.open(path, os.O_PATH)
    write(f"/proc/self/fd/{holder}")


def by_symlink(path: str) -> None:
    os.symlink(path, "link")
    try:
        write("link")
    finally:
        os.unlink("link")


def by_directory_symlink(path: str) -> None:
    directory, name = os.path.split(path)
    os.symlink(directory, "tree")
    try:
        write(f"tree/{name}")
    finally:
        os.unlink("tree")


def hard_link(path: str) -> None:
    os.link(path, "linked")


def rename_in(path: str) -> None:
    os.rename(path, "taken")


def rename_out(path: str) -> None:
    write("mine")
    try:
        os.rename("mine", path)
    finally:
        if os.path.exists("mine"):
            os.unlink("mine")


def exchange(number: str, path: str) -> None:
    """renameat2 with RENAME_EXCHANGE."""
    write("mine")
    try:
        system_call(int(number), -100, ctypes.c_char_p(b"mine"), -100, ctypes.c_char_p(path.encode()), 2)
    finally:
        os.unlink("mine")


def truncate(path: str) -> None:
    os.truncate(path, 0)


def unlink(path: str) -> None:
    os.unlink(path)


def make_directory(path: str) -> None:
    os.mkdir(path)


def remove_directory(path: str) -> None:
    os.rmdir(path)


def make_symlink(path: str) -> None:
    os.symlink("/etc/passwd", path)


def make_fifo(path: str) -> None:
    os.mkfifo(path)


def make_device(path: str) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))


def unnamed_file(directory: str) -> None:
    os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600))


def map_shared(path: str) -> None:
    import mmap

    with open(path, "rb") as file:
        mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


def descriptor(number: str) -> str:
    return os.read(int(number), 64).decode()


def reopen_for_writing(number: str) -> None:
    """A descriptor that was handed over for reading, opened again through /proc."""
    os.close(os.open(f"/proc/self/fd/{number}", os.O_WRONLY))


def from_descriptor(number: str, path: str) -> None:
    """Climb out of a directory that was handed over."""
    os.close(os.open(path, os.O_RDONLY, dir_fd=int(number)))


def work() -> dict[str, Any]:
    """What may be done with the workspace and the temporary directory: everything."""
    outcome: dict[str, Any] = {}
    temporary = os.environ["TMPDIR"]
    for place in (".", temporary):
        outcome[place] = {
            "write": attempt(write, f"{place}/file"),
            "truncate": attempt(os.truncate, f"{place}/file", 3),
            "link": attempt(os.link, f"{place}/file", f"{place}/linked"),
            "symlink": attempt(os.symlink, "file", f"{place}/symlink"),
            "by symlink": attempt(write, f"{place}/symlink"),
            "mkdir": attempt(os.mkdir, f"{place}/directory"),
            "rename": attempt(os.rename, f"{place}/linked", f"{place}/directory/renamed"),
            "fifo": attempt(os.mkfifo, f"{place}/fifo"),
            "read": attempt(read, f"{place}/directory/renamed"),
            "unlink": attempt(os.unlink, f"{place}/fifo"),
            "unnamed": attempt(unnamed_file, place),
            "device": attempt(make_device, f"{place}/null"),
            "remove tree": attempt(shutil.rmtree, f"{place}/directory"),
        }
    outcome["across"] = attempt(shutil.copy, "file", f"{temporary}/copied")
    return outcome


def harmless() -> dict[str, int]:
    """What real programs read and write without thinking."""
    return {
        path: attempt(open_with, str(flags), path)
        for path, flags in (
            ("/etc/passwd", os.O_RDONLY),
            ("/proc/self/status", os.O_RDONLY),
            ("/proc/self/maps", os.O_RDONLY),
            ("/proc/meminfo", os.O_RDONLY),
            ("/dev/null", os.O_RDWR),
            ("/dev/urandom", os.O_RDONLY),
            ("/usr/bin/env", os.O_RDONLY),
        )
    }


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
