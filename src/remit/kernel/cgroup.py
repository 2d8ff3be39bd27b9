"""Control groups by path, v1 and v2 (cgroups(7)): made, entered, limited, frozen, killed, read. Errors name a file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

from remit.kernel import pidfd
from remit.plain import Data

ROOT = "/sys/fs/cgroup"  # what is mounted beneath it or, by custom, nowhere else


class Cgroup(Data):
    """A directory of a cgroup hierarchy."""

    version: int
    path: str


def may_make_children(cgroup: Cgroup) -> bool:
    """Whether this process may make cgroups in this one, and move its own processes between it and them.

    In a v2 cgroup that is threaded, or the root of threaded ones, no new one can be entered.
    """
    allowed = os.access(cgroup.path, os.W_OK | os.X_OK) and os.access(f"{cgroup.path}/cgroup.procs", os.W_OK)
    return allowed and (cgroup.version == 1 or is_root(cgroup) or read(cgroup, "cgroup.type").strip() == "domain")


def is_root(cgroup: Cgroup) -> bool:
    """Whether this is the root of a v2 hierarchy, the only cgroup that has no type."""
    return not os.path.exists(f"{cgroup.path}/cgroup.type")


def make(cgroup: Cgroup) -> None:
    """Nobody but its owner can open it, for its lock is to be the owner's alone."""
    os.mkdir(cgroup.path, 0o700)


def is_ours(cgroup: Cgroup) -> bool:
    """Whether it looks as if `make` had made it, for this user. Raises OSError when it is gone."""
    found = os.stat(cgroup.path)
    return found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700


def remove(cgroup: Cgroup) -> None:
    """Raises OSError, EBUSY while a process or another cgroup is in it."""
    os.rmdir(cgroup.path)


def hold(cgroup: Cgroup) -> int | None:
    """A descriptor with the lock that says that its session lives; None when somebody else holds that."""
    descriptor = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def enter(cgroup: Cgroup, pid: int) -> None:
    """Move a process, with all its threads; what it forks from now on begins there."""
    write(cgroup, "cgroup.procs", str(pid))


def members(cgroup: Cgroup) -> set[int]:
    """The processes in it, but not in its children; zombies are not among them on v2."""
    return {int(pid) for pid in read(cgroup, "cgroup.procs").split()}


def has(cgroup: Cgroup, name: str) -> bool:
    """Whether it has this file, for us to write."""
    return os.access(f"{cgroup.path}/{name}", os.W_OK)


def limit_memory(cgroup: Cgroup, most: int) -> None:
    """Bytes of memory, none of which may go to swap instead; what may not be had any more is ended by the kernel."""
    if cgroup.version == 2:
        write(cgroup, "memory.max", str(most))
        _write_if_there(cgroup, "memory.swap.max", "0")
    else:
        write(cgroup, "memory.limit_in_bytes", str(most))
        _write_if_there(cgroup, "memory.memsw.limit_in_bytes", str(most))


def ran_out_of_memory(cgroup: Cgroup) -> bool:
    """Whether its own limit has made the kernel end, or try to end, a process in it."""
    if cgroup.version == 2:
        return counters(cgroup, "memory.events")["oom"] > 0
    if counters(cgroup, "memory.oom_control").get("oom_kill", 0) == 0:
        return False
    # Counted too is who was ended for want of memory elsewhere; then this cgroup was never full.
    swap = "memsw." if os.path.exists(f"{cgroup.path}/memory.memsw.limit_in_bytes") else ""
    limit = int(read(cgroup, f"memory.{swap}limit_in_bytes"))
    return int(read(cgroup, f"memory.{swap}max_usage_in_bytes")) >= limit - (limit >> 4)


def limit_tasks(cgroup: Cgroup, most: int) -> None:
    """Processes and threads together."""
    write(cgroup, "pids.max", str(most))


def tasks_refused(cgroup: Cgroup) -> int:
    """How often the limit kept a process or thread from being made."""
    return counters(cgroup, "pids.events")["max"]


def cpu_seconds(cgroup: Cgroup) -> float:
    """CPU time of all that were ever in it, while they were."""
    if cgroup.version == 2:
        return counters(cgroup, "cpu.stat")["usage_usec"] / 1e6
    return int(read(cgroup, "cpuacct.usage")) / 1e9


def freeze(cgroup: Cgroup, *, frozen: bool = True) -> None:
    """Begin to freeze or thaw all of it; who waits in the kernel, and cannot be interrupted, freezes on the way out."""
    if cgroup.version == 2:
        write(cgroup, "cgroup.freeze", str(int(frozen)))
    else:
        write(cgroup, "freezer.state", "FROZEN" if frozen else "THAWED")


def is_frozen(cgroup: Cgroup) -> bool:
    """Whether everybody in it is."""
    if cgroup.version == 2:
        return counters(cgroup, "cgroup.events")["frozen"] == 1
    return read(cgroup, "freezer.state").strip() == "FROZEN"


def kill(cgroup: Cgroup) -> None:
    """SIGKILL everybody in it: at once (v2, 5.14), else each that is there now. Frozen by v1 one dies when thawed."""
    if cgroup.version == 2 and _write_if_there(cgroup, "cgroup.kill", "1"):
        return
    for pid in members(cgroup):
        try:
            descriptor = pidfd.open_process(pid)
        except OSError:
            continue  # it has just ended
        try:
            if pid in members(cgroup):  # still the same: the number is not given to another while we hold it
                pidfd.send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def counters(cgroup: Cgroup, name: str) -> dict[str, int]:
    """A file of lines of a name and a number."""
    found = {}
    for line in read(cgroup, name).splitlines():
        key, _, value = line.partition(" ")
        if value.isdecimal():
            found[key] = int(value)
    return found


def read(cgroup: Cgroup, name: str) -> str:
    path = f"{cgroup.path}/{name}"
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        said = b""
        while piece := os.read(descriptor, 65536):
            said += piece
        return said.decode("ascii", "replace")
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, path) from None
    finally:
        os.close(descriptor)


def write(cgroup: Cgroup, name: str, value: str) -> None:
    path = f"{cgroup.path}/{name}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, path) from None
    finally:
        os.close(descriptor)


def _write_if_there(cgroup: Cgroup, name: str, value: str) -> bool:
    try:
        write(cgroup, name, value)
    except OSError as problem:
        if problem.errno not in (errno.ENOENT, errno.EACCES):
            raise
        return False
    return True
