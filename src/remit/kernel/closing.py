"""Closes an agent's socket without waiting for as long as the agent chose (SO_LINGER, socket(7)).

Whoever closes the last reference waits, and a duplicate that was taken from the agent can become the last one. The wait
ends when a signal is pending (tcp_close in net/ipv4/tcp.c waits interruptibly), so a timer is set around each close.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS = 0.005  # again and again, should the first signal come before the wait has begun


def prepare() -> None:
    """Once in a process, in its main thread: make the timer's signal one that interrupts and does nothing else."""
    signal.signal(signal.SIGALRM, _nothing)


def close_promptly(descriptor: int) -> None:
    """Close a descriptor, from the main thread; a pending linger is cut short, and the data goes on in the kernel."""
    with cut_short():
        os.close(descriptor)


@contextmanager
def cut_short() -> Iterator[None]:
    """In the main thread: no system call within waits for long, if a signal ends it."""
    signal.setitimer(signal.ITIMER_REAL, _SECONDS, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _nothing(number: int, frame: Any) -> None:
    pass
