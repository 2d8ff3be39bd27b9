"""Odd names and odd places: names.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import subprocess
from typing import Any

from attempt import attempt, libc, main, system_call

OPENAT2 = 437


def long_paths() -> dict[str, int]:
    """Paths of 4 095 bytes, the longest there is, and one byte more; at the end of a page, and across two."""
    outcome = {}
    for name, length in (("longest", 4095), ("too long", 4096)):
        path = b"./" * ((length - 8) // 2) + b"x" * (8 + (length - 8) % 2)
        assert len(path) == length
        outcome[name] = attempt(lambda path=path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)))
    pages = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    # The last page goes away, and the name ends right before it.
    assert libc.munmap(ctypes.c_void_p(start + 2 * mmap.PAGESIZE), mmap.PAGESIZE) == 0
    for name, raw, at in (
        ("before a hole", b"edge\0", 2 * mmap.PAGESIZE - 5),
        ("into a hole", b"edge", 2 * mmap.PAGESIZE - 4),
        ("across pages", b"edge\0", mmap.PAGESIZE - 2),
    ):
        pages[at : at + len(raw)] = raw
        descriptor = libc.open(ctypes.c_void_p(start + at), os.O_WRONLY | os.O_CREAT, 0o600)
        outcome[name] = 0 if descriptor >= 0 else ctypes.get_errno()
    return outcome


def not_text() -> None:
    """Bytes that are no UTF-8 in a path, an argument and the directory of a program."""
    os.makedirs(b"dir-\xff\xfe", exist_ok=True)
    os.chdir(b"dir-\xff\xfe")
    os.close(os.open(b"file-\x80", os.O_WRONLY | os.O_CREAT, 0o600))
    subprocess.run([b"/bin/true", b"argument-\xc3\x28", b"\xed\xa0\x80"], check=True)


def removed() -> dict[str, int]:
    """A current directory, and a descriptor of one, that are removed."""
    os.mkdir("gone")
    holder = os.open("gone", os.O_RDONLY | os.O_DIRECTORY)
    os.chdir("gone")
    os.rmdir("../gone")
    outcome = {
        "relative": attempt(os.open, "new", os.O_WRONLY | os.O_CREAT),
        "by descriptor": attempt(lambda: os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=holder)),
        "up and out": attempt(os.open, "../new", os.O_WRONLY | os.O_CREAT),
    }
    subprocess.run(["/bin/true", "from nowhere"], check=True)
    return outcome


def deep() -> int:
    """A directory so deep that its path has no name, a file in it, and a program run from there."""
    for _ in range(40):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    os.close(os.open("bottom", os.O_WRONLY | os.O_CREAT, 0o600))
    return subprocess.run(["/bin/true", "from the deep"], check=False).returncode


def large(count: str) -> int:
    """A program with this many bytes of arguments, and as many of environment."""
    words = ["x" * 100_000] * (int(count) // 100_000)
    environment = {f"v{i}": word for i, word in enumerate(words)}
    return subprocess.run(["/bin/true", *words], env=environment, check=False).returncode


def openat2(resolve: str, directory: str, path: str) -> None:
    how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_WRONLY | os.O_CREAT, 0o600, int(resolve)), 24)
    start = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.close(system_call(OPENAT2, start, ctypes.c_char_p(path.encode()), how, 24))


if __name__ == "__main__":
    acts: dict[str, Any] = {name: act for name, act in globals().items() if callable(act)}
    main(acts)
