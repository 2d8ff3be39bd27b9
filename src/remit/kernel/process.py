"""What a process sets about itself: prctl(2), capabilities, descriptors and limits."""

from __future__ import annotations

import ctypes
import os
import signal
import struct

from remit.kernel.libc import MACHINE, libc_call, system_call

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP, both locked: uid 0 gains nothing at exec (capabilities(7)).
_SECUREBITS_NO_ROOT = 0b1111
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_SETPCAP = 8
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}.get(MACHINE, -1)
_SYS_CLOSE_RANGE = 436


def set_dumpable(dumpable: bool) -> None:
    """When False, /proc/PID of this process belongs to root and no same-uid process may trace it."""
    libc_call("prctl", _PR_SET_DUMPABLE, int(dumpable), 0, 0, 0, what="prctl PR_SET_DUMPABLE")


def set_child_subreaper() -> None:
    """Orphaned descendants become our children instead of init's."""
    libc_call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, what="prctl PR_SET_CHILD_SUBREAPER")


def die_with_parent(signal_number: int, parent: int) -> None:
    """Receive the signal when the parent thread dies; exits at once if `parent` is already gone."""
    libc_call("prctl", _PR_SET_PDEATHSIG, signal_number, 0, 0, 0, what="prctl PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        os._exit(1)


def set_name(name: str) -> None:
    """The name that ps shows, cut to 15 bytes by the kernel."""
    libc_call("prctl", _PR_SET_NAME, ctypes.c_char_p(name.encode()), 0, 0, 0, what="prctl PR_SET_NAME")


def drop_capabilities() -> None:
    """Give up all five capability sets for good, so that uid 0 inside the boundary is an ordinary user.

    Without CAP_SETPCAP there is nothing in the bounding set that no_new_privs would not already keep away.
    """
    if _effective_capabilities() & (1 << _CAP_SETPCAP):
        for capability in range(64):
            try:
                libc_call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0, what="prctl PR_CAPBSET_DROP")
            except OSError:
                break  # EINVAL: one past the last capability this kernel knows
        libc_call("prctl", _PR_SET_SECUREBITS, _SECUREBITS_NO_ROOT, 0, 0, 0, what="prctl PR_SET_SECUREBITS")
    libc_call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, what="prctl PR_CAP_AMBIENT")
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    system_call(_SYS_CAPSET, header, data, what="capset")


def wake_on_child_signal() -> int:
    """A descriptor that becomes readable with each SIGCHLD, so that a loop can wait for deaths; never blocks."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def close_other_descriptors(keep: set[int]) -> None:
    """Close every descriptor from 3 up that is not in `keep` (close_range(2), 5.9)."""
    first = 3
    for number in [*sorted(n for n in keep if n >= 3), 0xFFFFFFFF]:
        if number > first:
            last = number - 1 if number != 0xFFFFFFFF else number
            _close_range(first, last)
        first = number + 1


def _close_range(first: int, last: int) -> None:
    try:
        system_call(_SYS_CLOSE_RANGE, first, last, 0, what="close_range")
    except OSError:
        os.closerange(first, min(last + 1, os.sysconf("SC_OPEN_MAX")))


def _effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0
