"""Raw system calls by number: calls.py call NUMBER ARGUMENT..."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import resource
import signal
from typing import Any

from attempt import attempt, libc, main, system_call

CLONE_VM, CLONE_VFORK = 0x100, 0x4000


def call(number: str, *arguments: str) -> int:
    return system_call(int(number), *(int(word, 0) for word in arguments))


def clone(number: str, flags: str) -> int:
    """clone(2) with a child that ends at once."""
    pid = system_call(int(number), int(flags, 0) | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def clone_dirty(number: str, flags: str) -> int:
    """The same with the upper half of the register filled, which the kernel ignores."""
    return clone(number, str(int(flags, 0) | (0xABCD << 32)))


def split(number: str, *arguments: str) -> int:
    """The call by a second thread."""
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(call, number, *arguments).result()


def dumpable() -> dict[str, int]:
    """What PR_SET_DUMPABLE 0 answers, and what PR_GET_DUMPABLE says afterwards."""
    answered = libc.prctl(4, 0, 0, 0, 0)
    return {"answered": answered, "dumpable": libc.prctl(3, 0, 0, 0, 0)}


def privileges() -> dict[str, Any]:
    """What /proc/self/status says of identity, capabilities and filters."""
    wanted = ("Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    return {name: lines[name] for name in wanted}


def environment() -> dict[str, str]:
    return dict(os.environ)


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


def fork_until_refused(limit: str) -> dict[str, int]:
    """Fork children that wait; how many there were when fork said no, and its errno."""
    reader, writer = os.pipe()
    children = []
    error = 0
    for _ in range(int(limit)):
        try:
            pid = os.fork()
        except OSError as problem:
            error = problem.errno or -1
            break
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        children.append(pid)
    os.close(writer)
    for pid in children:
        os.waitpid(pid, 0)
    return {"children": len(children), "errno": error}


def own_child() -> dict[str, int]:
    """What a process may do to its own child: the benign twin of every act on a neighbour."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    outcome = {
        "prlimit": attempt(resource.prlimit, pid, resource.RLIMIT_NOFILE),
        "affinity": attempt(os.sched_setaffinity, pid, os.sched_getaffinity(0)),
        "priority": attempt(os.setpriority, os.PRIO_PROCESS, pid, 1),
        "kill": attempt(os.kill, pid, signal.SIGTERM),
    }
    os.waitpid(pid, 0)
    os.close(writer)
    return outcome


def io_uring(number: str) -> int:
    return system_call(int(number), 8, ctypes.create_string_buffer(120))


def new_listener(number: str) -> int:
    """A filter that allows everything, with a listener of its own."""
    program = ctypes.create_string_buffer(bytes([6, 0, 0, 0, 0, 0, 0xFF, 0x7F]), 8)
    header = (ctypes.c_ulong * 2)(1, ctypes.addressof(program))
    return system_call(int(number), 1, 8, header)


def handle(number: str, path: str) -> int:
    """open_by_handle_at: a file by its number, past every path."""
    buffer = ctypes.create_string_buffer(136)
    ctypes.c_uint.from_buffer(buffer).value = 128
    mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), buffer, ctypes.byref(mount), 0) != 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at")
    directory = os.open(".", os.O_RDONLY)
    return system_call(int(number), directory, buffer, os.O_RDONLY)


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
