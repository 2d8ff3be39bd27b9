"""Ways to cut a file: truncates.py ACT PATH..."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time

from attempt import attempt, main, system_call

SYS_OPENAT2 = 437


def honest() -> dict[str, object]:
    """As programs cut their own files, by every kind of name."""
    os.makedirs("place/deep", exist_ok=True)
    with open("place/file", "w") as file:
        file.write("0123456789")
    os.truncate("place/file", 6)
    sizes = [os.path.getsize("place/file")]
    os.symlink("../file", "place/deep/link")
    os.truncate(os.path.abspath("place/deep/link"), 4)
    sizes.append(os.path.getsize("place/file"))
    os.chdir("place/deep")
    os.truncate("../file", 1 << 20)
    sizes.append(os.path.getsize("../file"))
    with open("../file") as file:
        os.truncate(f"/proc/self/fd/{file.fileno()}", 2)
        sizes.append(os.path.getsize("../file"))
    os.mkfifo("pipe")
    os.close(os.open("../file", os.O_WRONLY | os.O_TRUNC))
    sizes.append(os.path.getsize("../file"))
    return {
        "sizes": sizes,
        "missing": attempt(os.truncate, "missing", 0),
        "directory": attempt(os.truncate, ".", 0),
        "pipe": attempt(os.truncate, "pipe", 0),
        "negative": attempt(os.truncate, "../file", -1),
    }


def cut(path: str) -> dict[str, int]:
    def open2(flags: int) -> None:
        how = ctypes.create_string_buffer(struct.pack("=QQQ", flags, 0, 0), 24)
        os.close(system_call(SYS_OPENAT2, -100, os.fsencode(path), how, 24))

    return {
        "truncate": attempt(os.truncate, path, 0),
        "open": attempt(os.open, path, os.O_TRUNC),
        "create": attempt(os.open, path, os.O_TRUNC | os.O_CREAT),
        "neither": attempt(os.open, path, os.O_TRUNC | 3),
        "openat2": attempt(open2, os.O_TRUNC),
        "openat2 neither": attempt(open2, os.O_TRUNC | 3),
    }


def race(path: str) -> int:
    """A link leads now to a file of one's own, now to the outsider's. How often was something cut?"""
    with open("own", "w") as file:
        file.write("x")
    over, cuts = time.monotonic() + 2, 0

    def change() -> None:
        while time.monotonic() < over:
            for target in (path, "own"):
                os.symlink(target, "new")
                os.rename("new", "raced")

    os.symlink("own", "raced")
    thread = threading.Thread(target=change)
    thread.start()
    while time.monotonic() < over:
        cuts += attempt(os.truncate, "raced", 0) == 0
        time.sleep(0.0005)  # a refusal costs its program much of its allowance
    thread.join()
    return cuts


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
