"""The exec stop (ptrace(2)): hold a process at the moment its new image is in place and has run nothing.

Used for that moment only. The tracer seizes, lets the call go, reads at the stop and detaches at once, so that no
TracerPid shows in normal running and the agent's own parent sees its children as ever.
"""

from __future__ import annotations

import ctypes
import signal

from remit.kernel.libc import libc_call

_SEIZE = 0x4206
_INTERRUPT = 0x4207
_DETACH = 17
_OPTION_TRACE_EXEC = 1 << 4
# If the tracer dies between the question and the stop, so does the tracee: its image would go unread.
_OPTION_EXIT_KILL = 1 << 20
EVENT_EXEC = 4
EVENT_STOP = 128
WALL = 0x40000000  # __WALL of wait4(2): also wait for tracees that are threads


def seize(thread: int) -> None:
    """Become the tracer without stopping the thread, and ask for a stop at exec."""
    _ptrace(_SEIZE, thread, _OPTION_TRACE_EXEC | _OPTION_EXIT_KILL, "seize")


def interrupt(thread: int) -> None:
    """Stop the thread on its way back to user mode, whatever becomes of its call."""
    _ptrace(_INTERRUPT, thread, 0, "interrupt")


def detach(thread: int, deliver: int = 0) -> None:
    """Let the thread run untraced, delivering signal `deliver` if it was stopped for one."""
    _ptrace(_DETACH, thread, deliver, "detach")


def stop_event(status: int) -> tuple[int, int]:
    """Split a wait status of a stopped tracee into (event, signal)."""
    return status >> 16, (status >> 8) & 0xFF


def is_signal_stop(status: int) -> bool:
    """Whether the stop is for a signal that must be handed on when detaching."""
    event, number = stop_event(status)
    return event == 0 and number != signal.SIGTRAP


def _ptrace(request: int, thread: int, data: int, what: str) -> None:
    libc_call(
        "ptrace",
        ctypes.c_long(request),
        ctypes.c_long(thread),
        ctypes.c_void_p(0),
        ctypes.c_void_p(data),
        what=f"ptrace {what} {thread}",
    )
