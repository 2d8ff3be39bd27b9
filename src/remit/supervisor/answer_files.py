"""Opens for writing are witnessed, not decided: Landlock enforces, the record says what was asked and what must follow.

The path is resolved by the kernel through a path-only descriptor, from where the caller stands. The argument may have
raced; the record says so (`predicted`), and the wall does not depend on it.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any, NamedTuple

from remit.kernel import proc
from remit.kernel.seccomp import Question
from remit.supervisor.answers import Answer, Desk, Fail, Proceed
from remit.supervisor.observing import uncovered, uncovered_write
from remit.supervisor.processes import Process

OPENS = ("open", "openat", "openat2", "creat")
AT_FDCWD = -100 & 0xFFFFFFFF
LOW = 0xFFFFFFFF
_ACCESS_MODE = 3
WRITING = _ACCESS_MODE | os.O_CREAT | os.O_TRUNC
# Written by every shell and saying nothing about what a task does.
PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/random", "/dev/urandom")
GPU_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel", "/dev/dxg")


# The kernel lets nobody beneath Landlock open these of a process that is not beneath it too (ptrace(2), landlock(7)).
_PRIVATE = re.compile(
    r"/proc/(\d+)/(?:task/\d+/)?(?:mem|environ|maps|smaps|smaps_rollup|numa_maps|auxv|pagemap|syscall|personality)"
)
OUTSIDER_CLAUSE = "only processes of the session may be looked into"


class Opened(NamedTuple):
    """What an open asks for."""

    directory: int
    path: str
    flags: int


def open_file(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """open, openat, openat2 and creat in normal sight: only opens for writing are looked at."""
    opened = asked_open(question, name)
    # openat2 always asks, because its flags are in memory.
    return open_for_writing(desk, process, question, opened) if opened.flags & WRITING else Proceed()


def open_for_writing(desk: Desk, process: Process, question: Question, opened: Opened) -> Answer:
    """Record what would be written, then let Landlock decide."""
    directory, asked, flags = opened
    path, found = resolve(question.pid, directory, asked, flags)
    if path.startswith(GPU_DEVICES):
        _record_device(desk, process, asked, path, found, flags)
    elif path not in PLAIN_DEVICES and not path.startswith(("/dev/pts/", "pipe:", "socket:")):
        _record_open(desk, process, asked, path, found, flags)
    if flags & _ACCESS_MODE == _ACCESS_MODE and granted(desk, path, "write") is None and not desk.plan.observe:
        # A descriptor for ioctl only, neither reading nor writing: Landlock asks for no right on the file.
        return Fail(errno.EACCES if found else errno.ENOENT)
    return Proceed()


def resolve(pid: int, directory: int, asked: str, flags: int = 0) -> tuple[str, bool]:
    """The path as the kernel resolves it for `pid`, and whether something is there. Never raises for a missing one."""
    start = _starting_point(pid, directory, asked)
    no_follow = flags & os.O_NOFOLLOW
    try:
        return _resolve_existing(start, no_follow, pid), True
    except OSError as problem:
        if problem.errno != errno.ENOENT:
            return asked if asked.startswith("/") else start, False
    # The deepest directory that is there says where the rest would be.
    parent, missing = start.rstrip("/"), ""
    while True:
        parent, _, last = parent.rpartition("/")
        missing = f"/{last}{missing}"
        try:
            return _resolve_existing(parent or "/", 0, pid).rstrip("/") + missing, False
        except OSError:
            if not parent:
                return start, False


def granted(desk: Desk, path: str, access: str) -> str | None:
    """The clause that grants `access` on `path`, or None."""
    return desk.files.clause(path, access)


def looks_into_outsider(desk: Desk, path: str) -> bool:
    """Whether a path is the memory, the environment or the like of a process that is none of the session's."""
    private = _PRIVATE.fullmatch(path) if path.startswith("/proc/") else None
    return private is not None and desk.plan.landlock_abi > 0 and not desk.processes.is_ours(int(private[1]))


def place(pid: int, directory: int, asked: str, no_follow: int) -> str | None:
    """Where an open by `pid` leads, or None when nothing is there. What plain permissions hide is named as asked."""
    start = _starting_point(pid, directory, asked)
    try:
        return _resolve_existing(start, no_follow, pid)
    except PermissionError:
        return os.path.realpath(start)
    except (OSError, ValueError):
        return None


def asked_open(question: Question, name: str) -> Opened:
    """What this open asks for, read once. Raises OSError when its memory cannot be read."""
    directory, address, flags = _arguments(question, name)
    return Opened(directory, os.fsdecode(proc.read_string(question.pid, address)), flags)


def _arguments(question: Question, name: str) -> tuple[int, int, int]:
    arguments = question.arguments
    if name == "open":
        return AT_FDCWD, arguments[0], arguments[1] & LOW
    if name == "creat":
        return AT_FDCWD, arguments[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    if name == "openat2":
        how = proc.read_memory(question.pid, arguments[2], 8)  # struct open_how begins with u64 flags
        return arguments[0] & LOW, arguments[1], int.from_bytes(how, "little") & LOW
    return arguments[0] & LOW, arguments[1], arguments[2] & LOW


def _starting_point(pid: int, directory: int, asked: str) -> str:
    # These name the caller, and resolved here they would name the supervisor.
    for own, theirs in (
        ("/proc/self/", f"/proc/{pid}/"),
        ("/proc/thread-self/", f"/proc/{pid}/"),
        ("/dev/fd/", f"/proc/{pid}/fd/"),
    ):
        if asked.startswith(own):
            return theirs + asked[len(own) :]
    if asked in ("/dev/stdin", "/dev/stdout", "/dev/stderr"):
        return f"/proc/{pid}/fd/{('in', 'out', 'err').index(asked.removeprefix('/dev/std'))}"
    if asked.startswith("/"):
        return asked
    if directory == AT_FDCWD:
        return f"/proc/{pid}/cwd/{asked}"
    return f"/proc/{pid}/fd/{directory}/{asked}" if asked else f"/proc/{pid}/fd/{directory}"


def _resolve_existing(path: str, no_follow: int, pid: int) -> str:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | no_follow)
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    own = f"/proc/{os.getpid()}/"  # a symbolic link to /proc/self led to us instead of the caller
    return f"/proc/{pid}/{found[len(own) :]}" if found.startswith(own) else found


def _record_open(desk: Desk, process: Process, asked: str, path: str, found: bool, flags: int) -> None:
    clause = granted(desk, path, "write")
    if clause is None and not found and not flags & os.O_CREAT:
        return  # nothing there to write to: a search, not an act
    more: dict[str, Any] = {}
    if looks_into_outsider(desk, path):
        more = {"outsider": True, "errno": errno.EACCES, "refused": True, "wall": "files", "clause": OUTSIDER_CLAUSE}
    elif clause is None:
        more = uncovered_write(desk.plan, path, "files.write", new_name=not found)
    if not found:
        more["new"] = True
    _record(desk, "open", process, asked, path, flags, clause, **more)


def _record_device(desk: Desk, process: Process, asked: str, path: str, found: bool, flags: int) -> None:
    clause = granted(desk, path, "write")
    more: dict[str, Any] = {"errno": 0 if found else errno.ENOENT}
    if clause is None and found:
        more = uncovered(desk.plan, "devices.gpu", wall="files")
    elif clause is None:
        more |= {"wall": "files", "clause": "devices.gpu"}
    _record(desk, "device", process, asked, path, flags, clause, **{"class": "gpu", "absent": not found, **more})


def _record(
    desk: Desk, kind: str, process: Process, asked: str, path: str, flags: int, granted_by: str | None, **more: Any
) -> None:
    members: dict[str, Any] = {
        "process": process.identity,
        "path": path,
        "asked": asked,
        "flags": flags,
        "errno": 0,
        "refused": False,
        "wall": "",
        "clause": granted_by,
        "predicted": True,
    }
    desk.record(kind, **(members | more))
