"""Process descriptors (pidfd_open(2)): a process named so that its number cannot be reused under our hands."""

from __future__ import annotations

import os
import select

from remit.kernel.libc import SYS_PIDFD_GETFD, SYS_PIDFD_OPEN, SYS_PIDFD_SEND_SIGNAL, system_call


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


def send_signal(descriptor: int, signal_number: int) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        system_call(SYS_PIDFD_SEND_SIGNAL, descriptor, signal_number, 0, 0, what="pidfd_send_signal")
    except ProcessLookupError:
        return False
    return True


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
