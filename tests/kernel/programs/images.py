"""Every way to run what the scope does not let run: images.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable
from typing import Any

from attempt import libc, main, system_call

AT_EMPTY_PATH = 0x1000


def child(act: Callable[[], Any]) -> dict[str, int]:
    """How a child ends that does the act: its exit status, minus a signal's number, or the errno of the act."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            act()
        except OSError as problem:
            os.write(writer, bytes([problem.errno or 255]))
        os._exit(99)
    os.close(writer)
    said = os.read(reader, 1)
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"errno": said[0] if said else 0, "status": status}


def run(path: str, *words: str) -> dict[str, int]:
    return child(lambda: os.execv(path, [path, *words]))


def in_memory(path: str, by: str, number: str) -> dict[str, int]:
    """A program that is nowhere in the file system."""
    descriptor = os.memfd_create("program", 0)
    with open(path, "rb") as file:
        os.write(descriptor, file.read())

    def act() -> None:
        if by == "execveat":
            vector = (ctypes.c_char_p * 2)(b"program", None)
            empty = (ctypes.c_char_p * 1)(None)
            system_call(int(number), descriptor, ctypes.c_char_p(b""), vector, empty, AT_EMPTY_PATH)
        os.execv(f"/proc/self/fd/{descriptor}", ["program"])

    return child(act)


def by_descriptor(path: str, number: str) -> dict[str, int]:
    """execveat of a path-only descriptor, which needs no right to open."""
    descriptor = os.open(path, os.O_PATH)

    def act() -> None:
        vector = (ctypes.c_char_p * 2)(b"program", None)
        empty = (ctypes.c_char_p * 1)(None)
        system_call(int(number), descriptor, ctypes.c_char_p(b""), vector, empty, AT_EMPTY_PATH)

    return child(act)


def copied(path: str, *words: str) -> dict[str, int]:
    shutil.copy(path, "copied")
    return run("./copied", *words)


def linked(path: str, *words: str) -> dict[str, int]:
    os.symlink(path, "shortcut")
    try:
        return run("./shortcut", *words)
    finally:
        os.unlink("shortcut")


def script(path: str) -> dict[str, int]:
    """A script in the workspace whose interpreter is elsewhere."""
    with open("script", "w", encoding="utf-8") as file:
        file.write(f"#!{path}\n")
    os.chmod("script", 0o755)
    return run("./script")


def removed(path: str) -> dict[str, int]:
    """A program that is gone by the time it runs."""
    shutil.copy(path, "short-lived")
    descriptor = os.open("short-lived", os.O_RDONLY)
    os.unlink("short-lived")
    return child(lambda: os.execv(f"/proc/self/fd/{descriptor}", ["short-lived"]))


def unreadable(path: str) -> dict[str, int]:
    """A program that may be run but not read, which would leave its process unreadable too."""
    shutil.copy(path, "unreadable")
    os.chmod("unreadable", 0o111)
    return run("./unreadable")


def undumpable_child(path: str) -> dict[str, int]:
    libc.prctl(4, 0, 0, 0, 0)
    return run(path)


def privilege_after(path: str) -> dict[str, Any]:
    """Whether a program of root's with the set-user-id bit makes anybody root."""
    done = child(lambda: os.execv(path, [path, "-p", "-c", "exit $(id -u)"]))
    return {"status": done["status"], "user": os.getuid()}


def chain(first: str, second: str) -> dict[str, int]:
    """Two programs in one process, one after the other."""
    return run(first, second)


def shell_status() -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return os.waitstatus_to_exitcode(os.system("exit 7"))


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
