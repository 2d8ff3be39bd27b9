"""Process descriptors (pidfd_open(2)): a process named so that its number cannot be reused under our hands."""

from __future__ import annotations

import ctypes
import os
import select

from remit.kernel.libc import SYS_PIDFD_GETFD, SYS_PIDFD_OPEN, SYS_PIDFD_SEND_SIGNAL, SYS_TGKILL, system_call


def open_process(pid: int) -> int:
    """A descriptor of the process; raises OSError (EINVAL or ENOENT) when `pid` is a thread that is not the leader."""
    return system_call(SYS_PIDFD_OPEN, pid, 0, what=f"pidfd_open {pid}")


def open_thread(thread: int) -> int:
    """A descriptor of one thread (PIDFD_THREAD, 6.9), which may have a descriptor table of its own; raises OSError."""
    return system_call(SYS_PIDFD_OPEN, thread, os.O_EXCL, what=f"pidfd_open thread {thread}")


def is_alive(descriptor: int) -> bool:
    """Whether the process can still be signalled; a zombie counts as alive until it is reaped."""
    try:
        system_call(SYS_PIDFD_SEND_SIGNAL, descriptor, 0, 0, 0, what="pidfd_send_signal")
    except OSError:
        return False
    return True


def has_exited(descriptor: int) -> bool:
    """Whether every thread of the process has ended, reaped or not."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def send_signal(descriptor: int, signal_number: int, information: bytes | None = None) -> bool:
    """Send a signal, with a siginfo_t or the kernel's own; False when the process is gone."""
    told = None if information is None else ctypes.create_string_buffer(information, len(information))
    try:
        system_call(SYS_PIDFD_SEND_SIGNAL, descriptor, signal_number, told, 0, what="pidfd_send_signal")
    except ProcessLookupError:
        return False
    return True


def signal_thread(process: int, thread: int, signal_number: int) -> None:
    """tgkill(2), for who knows that the process is still there; raises OSError (ESRCH) when the thread is not."""
    system_call(SYS_TGKILL, process, thread, signal_number, what=f"tgkill {thread}")


def named(descriptor: int) -> int | None:
    """The process that a descriptor of our own stands for: its number, -1 when it is gone, None for another file."""
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
        for line in file:
            if line.startswith(b"Pid:"):
                return int(line.split()[1])
    return None


def can_take_descriptors() -> bool:
    """Whether pidfd_getfd(2) works here, tried on ourselves: Linux 5.6, and a seccomp profile that lets it through."""
    try:
        ours = open_process(os.getpid())
    except OSError:
        return False
    try:
        os.close(take_descriptor(ours, ours))
    except OSError:
        return False
    finally:
        os.close(ours)
    return True


def take_descriptor(process: int, number: int) -> int:
    """A duplicate of the process's descriptor `number` (pidfd_getfd(2)), close-on-exec; the caller closes it."""
    descriptor = system_call(SYS_PIDFD_GETFD, process, number, 0, what=f"pidfd_getfd {number}")
    os.set_inheritable(descriptor, False)
    return descriptor
