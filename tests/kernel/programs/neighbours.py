"""Every way to touch another process: neighbours.py ACT PID ARGUMENT..."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
import sys
import termios
import time
from typing import Any

from attempt import attempt, main, system_call

SYS_TGKILL, SYS_TKILL, SYS_QUEUE, SYS_PIDFD_SIGNAL, SYS_PIDFD_OPEN = 234, 200, 129, 424, 434


def look(pid: str) -> dict[str, Any]:
    """What /proc shows of a process that only its own may see."""
    outcome: dict[str, Any] = {}
    for name in ("mem", "environ", "maps", "smaps", "auxv", "pagemap", "stack", "syscall", "io", "timers"):
        outcome[name] = attempt(read_one, f"/proc/{pid}/{name}")
    for name in ("exe", "cwd", "root"):
        outcome[name] = attempt(os.readlink, f"/proc/{pid}/{name}")
    # The numbers of its descriptors may be listed, but not what they are.
    outcome["descriptor"] = attempt(os.readlink, f"/proc/{pid}/fd/0")
    outcome["descriptor of a thread"] = attempt(os.readlink, f"/proc/{pid}/task/{pid}/fd/0")
    outcome["state of a descriptor"] = attempt(read_one, f"/proc/{pid}/fdinfo/0")
    outcome["map_files"] = attempt(os.listdir, f"/proc/{pid}/map_files")
    outcome["root tree"] = attempt(os.listdir, f"/proc/{pid}/root/")
    outcome["open a descriptor"] = attempt(os.open, f"/proc/{pid}/fd/0", os.O_RDONLY)
    outcome["write memory"] = attempt(os.open, f"/proc/{pid}/mem", os.O_WRONLY)
    outcome["score"] = attempt(os.open, f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
    outcome["name"] = attempt(os.open, f"/proc/{pid}/comm", os.O_WRONLY)
    outcome["filter"] = attempt(os.open, f"/proc/{pid}/coredump_filter", os.O_WRONLY)
    return outcome


def read_one(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not path.endswith("/mem"):  # address 0 is never mapped
            os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def signal_it(pid: str) -> dict[str, int]:
    target = int(pid)
    information = ctypes.create_string_buffer(struct.pack("=iii", signal.SIGKILL, 0, -1), 128)

    def by_descriptor() -> None:
        descriptor = system_call(SYS_PIDFD_OPEN, target, 0)
        try:
            system_call(SYS_PIDFD_SIGNAL, descriptor, signal.SIGKILL, 0, 0)
        finally:
            os.close(descriptor)

    return {
        "kill": attempt(os.kill, target, signal.SIGKILL),
        "stop": attempt(os.kill, target, signal.SIGSTOP),
        "probe": attempt(os.kill, target, 0),
        "tgkill": attempt(system_call, SYS_TGKILL, target, target, signal.SIGKILL),
        "tkill": attempt(system_call, SYS_TKILL, target, signal.SIGKILL),
        "queue": attempt(system_call, SYS_QUEUE, target, signal.SIGKILL, information),
        "descriptor": attempt(by_descriptor),
    }


def signal_everybody() -> int:
    """kill(-1): everybody that may be signalled, which must be the session's own."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return attempt(os.kill, -1, signal.SIGUSR1)


def signal_by_descriptor(pid: str) -> int:
    """Ask the kernel to signal an outsider whenever a pipe of ours becomes readable."""
    reader, writer = os.pipe()
    failed = attempt(fcntl.fcntl, reader, fcntl.F_SETOWN, int(pid))
    fcntl.fcntl(reader, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(writer, b"x")
    return failed


def steer(pid: str) -> dict[str, int]:
    """Limits and scheduling, which Landlock leaves open between processes of one user."""
    target = int(pid)
    attributes = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 3, 0, 10, 0, 0, 0, 0), 48)
    return {
        "prlimit": attempt(resource.prlimit, target, resource.RLIMIT_NOFILE, (8, 8)),
        "read prlimit": attempt(resource.prlimit, target, resource.RLIMIT_NOFILE),
        "affinity": attempt(os.sched_setaffinity, target, {0}),
        "scheduler": attempt(os.sched_setscheduler, target, os.SCHED_IDLE, os.sched_param(0)),
        "parameter": attempt(os.sched_setparam, target, os.sched_param(0)),
        "attributes": attempt(system_call, 314, target, attributes, 0),
        "priority": attempt(os.setpriority, os.PRIO_PROCESS, target, 19),
        "group priority": attempt(os.setpriority, os.PRIO_PGRP, os.getpgid(target), 19),
        "user priority": attempt(os.setpriority, os.PRIO_USER, os.getuid(), 19),
        "input": attempt(system_call, 251, 1, target, 3 << 13),
        "user input": attempt(system_call, 251, 3, os.getuid(), 3 << 13),
    }


def trace(pid: str) -> dict[str, int]:
    target = int(pid)
    buffer = ctypes.create_string_buffer(16)
    vector = struct.pack("=QQ", ctypes.addressof(buffer), 16)
    local, remote = ctypes.create_string_buffer(vector, 16), ctypes.create_string_buffer(vector, 16)
    holder = attempt(system_call, SYS_PIDFD_OPEN, target, 0)
    outcome = {
        "attach": attempt(system_call, 101, 16, target, 0, 0),
        "seize": attempt(system_call, 101, 0x4206, target, 0, 0),
        "be traced": attempt(system_call, 101, 0, 0, 0, 0),
        "read": attempt(system_call, 310, target, local, 1, remote, 1, 0),
        "write": attempt(system_call, 311, target, local, 1, remote, 1, 0),
        "compare": attempt(system_call, 312, os.getpid(), target, 0, 0, 0),
        "robust list": attempt(system_call, 274, target, local, remote),
    }
    if holder == 0:
        descriptor = system_call(SYS_PIDFD_OPEN, target, 0)
        outcome["take"] = attempt(system_call, 438, descriptor, 0, 0)
        outcome["memory advice"] = attempt(system_call, 440, descriptor, local, 1, 21, 0)
        outcome["namespaces"] = attempt(system_call, 308, descriptor, 0x20000000)
    return outcome


def push_input() -> dict[str, int]:
    """TIOCSTI and TIOCLINUX put words into a terminal, where an outsider's shell may read them."""
    leader, follower = os.openpty()
    high = 0xABCD << 32
    letter = ctypes.create_string_buffer(b"x", 1)
    return {
        "sti": attempt(system_call, 16, follower, termios.TIOCSTI, letter),
        "dirty": attempt(system_call, 16, follower, termios.TIOCSTI | high, letter),
        "linux": attempt(system_call, 16, leader, 0x541C, letter),
        "size": attempt(fcntl.ioctl, follower, termios.TIOCGWINSZ, bytes(8)),
    }


def ancestors() -> list[int]:
    """The processes above this one, which are readable of anybody."""
    found = []
    pid = os.getppid()
    while pid > 1:
        found.append(pid)
        with open(f"/proc/{pid}/stat", "rb") as stat:
            pid = int(stat.read().rsplit(b")", 1)[1].split()[1])
    return found


def watch_for_newborns(seconds: str) -> list[str]:
    """Look at every child of the zygote, from the moment it is born, for what the caller's environment holds."""
    parent = os.getppid()
    found = set()
    print("watching", flush=True)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
            newborns = children.read().split()
        for pid in newborns:
            for name in ("environ", "mem"):
                try:
                    with open(f"/proc/{pid}/{name}", "rb") as file:
                        if name == "environ" and b"MODEL_API_KEY" in file.read():
                            found.add(name)
                except OSError:
                    continue
    return sorted(found)


def stay() -> None:
    """Stay until standard input ends."""
    print(os.getpid(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
