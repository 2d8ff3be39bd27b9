"""Attempts on how processes come and go: past the limit, unseen, in namespaces, as another's child."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from functools import partial

from remit.attempts.attempt import Act, Attempt, GotThrough, Outside, Skip, Witness, each
from remit.kernel import raw
from remit.kernel.libc import MACHINE

_FILES, _THREAD, _PARENT, _VFORK, _VM = 0x400, 0x00010000, 0x00008000, 0x4000, 0x100
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
_TIME = 0x80
_AGAIN = (errno.EAGAIN,)

# vfork; in the child: exit(0). By machine code, since the child must not return through the parent's frames.
_VFORK_CODE = bytes.fromhex("b83a000000 0f05 85c0 7509 31ff b83c000000 0f05 c3")


def _fork_raw() -> None:
    if raw.number("fork") is None:
        raise OSError(errno.EAGAIN, "this architecture has no fork(2)")
    pid = raw.call("fork")
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _vfork_raw() -> None:
    if MACHINE != "x86_64":
        raise OSError(errno.EAGAIN, "this architecture has no vfork(2)")
    result = raw.execute(_VFORK_CODE)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    os.waitpid(result, 0)


def _too_many(outside: Outside) -> None:
    """Fill the session with children that wait, then try each way to one more."""
    if not outside.at_most:
        raise Skip("the scope has no processes.at-most")
    reader, writer = os.pipe()
    children = []
    try:
        for _ in range(outside.at_most + 8):
            try:
                pid = os.fork()
            except OSError:
                break
            if pid == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            children.append(pid)
        else:
            raise GotThrough(f"{len(children)} children, and processes.at-most is {outside.at_most}")
        each((("clone", _forked), ("fork", _fork_raw), ("vfork", _vfork_raw)), _AGAIN)
    finally:
        os.close(writer)
        for pid in children:
            os.waitpid(pid, 0)


def _forked() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _leave_a_child(outside: Outside) -> None:
    """A child whose parent goes at once: its lineage must have been read before."""
    parent_gone, keep = os.pipe()
    ended, alive = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(keep)
        if os.fork() == 0:
            os.read(parent_gone, 1)  # asks nothing until its parent is gone
            os.close(os.open(os.devnull, os.O_WRONLY))
        os._exit(0)
    os.close(alive)
    os.waitpid(pid, 0)
    os.close(keep)
    os.read(ended, 1)
    raise OSError(errno.EPERM, "its parent was read")


def _clone(flags: int) -> None:
    pid = raw.call("clone", flags, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _new_namespace(flag: int) -> Act:
    dirt = 0xABCD << 32
    ways: tuple[tuple[str, Callable[[], object]], ...] = (
        ("clone", lambda: _clone(flag | signal.SIGCHLD)),
        ("clone with a dirty register", lambda: _clone(flag | signal.SIGCHLD | dirt)),
        # A thread without shared signals is refused by the kernel as such (EINVAL), if it gets that far.
        ("clone of a thread", lambda: _clone(flag | _THREAD | _FILES)),
        ("unshare", lambda: raw.call("unshare", flag)),
    )
    return lambda outside: each(ways)


def _set_namespace(outside: Outside) -> None:
    each(
        (name, partial(raw.call, "setns", os.open(f"/proc/self/ns/{name}", os.O_RDONLY), 0))
        for name in ("net", "user", "mnt")
    )


def _other_parent(outside: Outside) -> None:
    each(
        (
            ("a process", lambda: _clone(_PARENT | signal.SIGCHLD)),
            ("a thread", lambda: _clone(_PARENT | _THREAD | _FILES)),
        )
    )


def _own_descriptors(outside: Outside) -> None:
    """A thread whose descriptors are not the process's could hold what /proc does not show."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        each(
            (
                ("clone of a thread", lambda: _clone(_THREAD)),
                ("unshare", lambda: raw.call("unshare", _FILES)),
                ("close_range", lambda: raw.call("close_range", 1 << 20, 1 << 20, 2)),
            )
        )
    finally:
        over.set()
        thread.join()


def _hidden_flags(outside: Outside) -> None:
    """clone3 keeps its flags in memory, where no filter sees them. Too short, so that it makes no process."""
    raw.call("clone3", raw.Memory(bytes(8)), 8)


ATTEMPTS = (
    Attempt("too-many", "processes", "more processes than the scope lets live at once", "clone, fork, vfork",
            _too_many, Witness("privilege", times=3), refusals=_AGAIN),
    Attempt("orphan", "lineage", "leave a child behind whose parent nobody has read", "fork, fork, exit_group",
            _leave_a_child),
    *(
        Attempt(f"namespace-{name}", "system-calls", f"a {name} namespace of one's own", "clone, unshare",
                _new_namespace(flag), Witness("privilege", times=4))
        for name, flag in NAMESPACES.items()
    ),
    Attempt("namespace-time", "system-calls", "a time namespace of one's own", "unshare",
            lambda o: raw.call("unshare", _TIME), Witness("privilege", "unshare")),
    Attempt("namespace-join", "system-calls", "join a namespace", "setns, three kinds", _set_namespace,
            Witness("privilege", "setns", 3)),
    Attempt("another-parent", "system-calls", "give a child to another parent", "clone CLONE_PARENT", _other_parent,
            Witness("privilege", "clone", 2)),
    Attempt("own-descriptors", "system-calls", "give a thread descriptors of its own", "clone, unshare, close_range",
            _own_descriptors, Witness("privilege", times=3)),
    Attempt("hidden-flags", "system-calls", "create by flags that no filter sees", "clone3", _hidden_flags,
            refusals=(errno.ENOSYS,)),
)  # fmt: skip
