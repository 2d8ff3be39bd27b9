"""Attempts on other processes of the same user: signals, tracing, memory, descriptors, limits, scheduling.

The same acts are made on a neighbour that has nothing to do with the session and on every process of remit's own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
from collections.abc import Callable, Iterator
from functools import partial

from remit.attempts.attempt import Attempt, Outside, Skip, Witness, each
from remit.kernel import raw

_SHOWN = ("mem", "environ", "maps", "auxv", "pagemap", "stack", "syscall", "io")
_LINKS = ("exe", "cwd", "root", "fd/0")

Target = Callable[[Outside], int]
Ways = tuple[tuple[str, Callable[[], object]], ...]


def _signals(pid: int) -> Ways:
    """SIGCONT does nothing to who runs, so that a wall that is open breaks nothing."""
    harmless = int(signal.SIGCONT)
    information = raw.Memory(struct.pack("=iii", harmless, 0, -1) + bytes(116))
    return (
        ("kill", lambda: os.kill(pid, harmless)),
        ("kill 0", lambda: os.kill(pid, 0)),
        ("tgkill", lambda: raw.call("tgkill", pid, pid, harmless)),
        ("tkill", lambda: raw.call("tkill", pid, harmless)),
        ("rt_sigqueueinfo", lambda: raw.call("rt_sigqueueinfo", pid, harmless, information)),
        ("rt_tgsigqueueinfo", lambda: raw.call("rt_tgsigqueueinfo", pid, pid, harmless, information)),
        ("pidfd_send_signal", lambda: _by_descriptor(pid, harmless)),
    )


def _by_descriptor(pid: int, number: int) -> None:
    with _process_descriptor(pid) as descriptor:
        raw.call("pidfd_send_signal", descriptor, number, 0, 0)


@contextlib.contextmanager
def _process_descriptor(pid: int) -> Iterator[int]:
    descriptor = raw.call("pidfd_open", pid, 0)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _look(pid: int) -> Ways:
    return (
        *((name, partial(_read, f"/proc/{pid}/{name}")) for name in _SHOWN),
        *((name, partial(os.readlink, f"/proc/{pid}/{name}")) for name in _LINKS),
        ("root tree", lambda: os.listdir(f"/proc/{pid}/root/")),
        ("a descriptor", lambda: os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY))),
        ("memory for writing", lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_WRONLY))),
        ("its score", lambda: os.close(os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY))),
    )


def _read(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not path.endswith("/mem"):  # nothing is mapped at address 0
            os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def _trace(pid: int) -> Ways:
    local, remote = _vector(), _vector()
    return (
        ("ptrace attach", lambda: raw.call("ptrace", 16, pid, 0, 0)),
        ("ptrace seize", lambda: raw.call("ptrace", 0x4206, pid, 0, 0)),
        ("ptrace traceme", lambda: raw.call("ptrace", 0, 0, 0, 0)),
        ("process_vm_readv", lambda: raw.call("process_vm_readv", pid, local, 1, remote, 1, 0)),
        ("process_vm_writev", lambda: raw.call("process_vm_writev", pid, local, 1, remote, 1, 0)),
        ("pidfd_getfd", lambda: _take(pid)),
        ("kcmp", lambda: raw.call("kcmp", os.getpid(), os.getpid(), 1, 0, 0)),
    )


def _vector() -> raw.Memory:
    return raw.Memory(struct.pack("=QQ", 0, 0))


def _take(pid: int) -> None:
    with _process_descriptor(pid) as descriptor:
        os.close(raw.call("pidfd_getfd", descriptor, 0, 0))


def _steer(pid: int) -> Ways:
    attributes = raw.Memory(struct.pack("=IIQiIQQQ", 48, 3, 0, 10, 0, 0, 0, 0))
    return (
        ("prlimit", lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))),
        ("sched_setaffinity", lambda: os.sched_setaffinity(pid, {0})),
        ("sched_setscheduler", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))),
        ("sched_setparam", lambda: os.sched_setparam(pid, os.sched_param(0))),
        ("sched_setattr", lambda: raw.call("sched_setattr", pid, attributes, 0)),
        ("setpriority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)),
        ("setpriority of a group", lambda: os.setpriority(os.PRIO_PGRP, 0, 19)),
        ("setpriority of the user", lambda: os.setpriority(os.PRIO_USER, 0, 19)),
        ("ioprio_set", lambda: raw.call("ioprio_set", 1, pid, 3 << 13)),
        ("ioprio_set of a group", lambda: raw.call("ioprio_set", 2, 0, 3 << 13)),
        ("ioprio_set of the user", lambda: raw.call("ioprio_set", 3, os.getuid(), 3 << 13)),
    )


_TARGETS: dict[str, tuple[str, Target]] = {
    "neighbour": ("another process of this user", lambda o: o.neighbour),
    "supervisor": ("the supervisor", lambda o: o.supervisor),
    "deputy": ("the deputy", lambda o: o.deputy),
    "launcher": ("the launcher", lambda o: o.launcher),
    "engine": ("the engine", lambda o: o.engine),
    "notary": ("the notary", lambda o: o.notary),
    "zygote": ("the zygote", lambda o: o.zygote),
}


_HOW = {
    "signal": "kill, tgkill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal",
    "look-into": "open of /proc/PID/mem, environ, maps, fd, root, cwd and others",
    "trace": "ptrace, process_vm_readv, process_vm_writev, pidfd_getfd, kcmp",
    "steer": "prlimit, sched_setaffinity, sched_setscheduler, sched_setparam, sched_setattr, setpriority, ioprio_set",
}


def _attempt(
    kind: str,
    verb: str,
    wall: str,
    target: str,
    ways: Callable[[int], Ways],
    witness: Witness | None = None,
    gaps: tuple[str, ...] = (),
) -> Attempt:
    named, find = _TARGETS[target]

    def act(outside: Outside) -> None:
        pid = find(outside)
        if not pid:
            raise Skip(f"{named} is not known")
        each(ways(pid))

    return Attempt(f"{kind}-{target}", wall, f"{verb} {named}", _HOW[kind], act, witness, gaps=gaps)


ATTEMPTS = (
    # The zygote is of the agent's own domain: to signal it ends the session, which is no way out.
    *(_attempt("signal", "signal", "signals", target, _signals)
      for target in _TARGETS if target != "zygote"),
    # A process beneath Landlock may look into none that is not beneath the same layers, whatever the files granted.
    *(_attempt("look-into", "see the memory, environment and descriptors of", "files", target, _look,
               gaps=("files-unwalled",)) for target in _TARGETS),
    *(_attempt("trace", "trace, read, write or rob", "system-calls", target, _trace, Witness("privilege", times=7))
      for target in _TARGETS),
    *(_attempt("steer", "change limits and scheduling of", "system-calls", target, _steer, Witness("signal", times=11))
      for target in _TARGETS),
)  # fmt: skip
