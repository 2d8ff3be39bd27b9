"""Signals as honest programs send them, and a race for one that reaches an outsider: signals.py ACT ARGUMENT..."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

from attempt import attempt, main, system_call

SYS_TKILL, SYS_QUEUE = 200, 129


def child(code: str = "import time; time.sleep(60)") -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{code}"], stdout=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.readline()
    return started


def to_children() -> dict[str, int]:
    """By number, by descriptor, with a value, and to one that has ended."""
    first, second, third = child(), child(), child()
    descriptor = os.pidfd_open(second.pid)
    signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    first.terminate()
    waits = child("import signal; signal.pthread_sigmask(0, [10]); print(flush=True); print(signal.sigwaitinfo([10]))")
    assert waits.stdout is not None
    waits.stdout.readline()
    told = ctypes.create_string_buffer(struct.pack("=iiiiiiq", 0, 0, -1, 0, os.getpid(), os.getuid(), 7), 128)
    system_call(SYS_QUEUE, waits.pid, signal.SIGUSR1, told)
    said = waits.stdout.read().decode()
    third.kill()
    os.waitid(os.P_PID, third.pid, os.WEXITED | os.WNOWAIT)
    return {
        "kill": -first.wait(),
        "descriptor": -second.wait(),
        "queued": int("si_code=-1" in said and f"si_pid={os.getpid()}" in said),
        "ended": attempt(os.kill, third.pid, signal.SIGTERM),
        "reaped": third.wait() and attempt(os.kill, third.pid, signal.SIGTERM),
    }


def to_threads() -> list[str]:
    """raise, pthread_kill, and musl's way, which names no process."""
    got: list[str] = []
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGURG):
        signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    signal.raise_signal(signal.SIGUSR1)
    assert thread.ident is not None
    signal.pthread_kill(thread.ident, signal.SIGUSR2)
    system_call(SYS_TKILL, thread.native_id, signal.SIGURG)
    time.sleep(0.1)
    over.set()
    thread.join()
    return got


def to_its_group() -> list[str]:
    """To itself and a child."""
    got: list[str] = []
    signal.signal(signal.SIGTERM, lambda number, frame: got.append("itself"))
    other = child()
    os.kill(0, signal.SIGTERM)
    got.append(f"child {other.wait()}")
    return got


def of_a_file() -> dict[str, Any]:
    """SIGIO for data that arrives, asked for by the process that gets it."""
    got: list[int] = []
    signal.signal(signal.SIGIO, lambda number, frame: got.append(number))
    near, far = socket.socketpair()
    fcntl.fcntl(near, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(near, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    far.send(b"x")
    time.sleep(0.1)
    return {"got": got, "blocking": os.get_blocking(near.fileno())}


def swap(pid: str) -> dict[str, int]:
    """One thread sends by a descriptor that another changes from a child's to an outsider's all the time."""
    own, other = os.pidfd_open(child().pid), os.pidfd_open(int(pid))
    used = os.dup(own)
    over = time.monotonic() + 2

    def change() -> None:
        while time.monotonic() < over:
            os.dup2(other, used)
            os.dup2(own, used)

    thread = threading.Thread(target=change)
    thread.start()
    counts = {"sent": 0, "refused": 0}
    while time.monotonic() < over:
        failed = attempt(signal.pidfd_send_signal, used, signal.SIGUSR1 if counts["sent"] > 5 else 0)
        counts["refused" if failed else "sent"] += 1
        time.sleep(0.0005)  # a refusal costs its program much of its allowance
    thread.join()
    return counts


def to_group(group: str) -> int:
    return attempt(os.kill, -int(group), signal.SIGKILL)


if __name__ == "__main__":
    main({name: act for name, act in globals().items() if callable(act)})
