"""Reading other processes: /proc (proc(5)) and their memory (process_vm_readv(2)).

A process may vanish at any moment; every reader here then raises ProcessLookupError, and nothing else means that.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re

from remit.kernel.libc import libc_call
from remit.plain import Data

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SHORT = 256  # nearly every path; copying whole pages is felt when every open is a question
_TICKS = os.sysconf("SC_CLK_TCK")
_PF_FORKNOEXEC = 0x40  # include/linux/sched.h
PATH_MAX = 4096


class Stat(Data):
    """From /proc/PID/stat: parent, start time in clock ticks since boot, CPU seconds, resident bytes, state, threads.

    `forked_only`: it was forked and has not run a program of its own yet (PF_FORKNOEXEC).
    """

    pid: int
    parent: int
    start: int
    cpu: float
    memory: int
    state: str
    threads: int
    forked_only: bool


class OwnCgroup(Data):
    """Where this process is in one cgroup hierarchy. controllers: those of a v1 hierarchy, none for v2."""

    version: int
    controllers: tuple[str, ...]
    mount: str
    directory: str


class CgroupMount(Data):
    """Where a cgroup hierarchy, or the part beneath `root`, is mounted. options: those of a v1 hierarchy name it."""

    version: int
    options: frozenset[str]
    root: str
    point: str


def cgroup_mounts() -> list[CgroupMount]:
    """Every mount of a cgroup hierarchy that this process can see."""
    mounts = []
    for line in _read("/proc/self/mountinfo").decode(errors="surrogateescape").splitlines():
        if " - cgroup" in line:
            fields, _, source = line.partition(" - ")
            root, point = (unescape_mount(field) for field in fields.split()[3:5])
            kind, _, options = source.split(" ", 2)
            mounts.append(CgroupMount(2 if kind == "cgroup2" else 1, frozenset(options.split(",")), root, point))
    return mounts


def own_cgroups(mounts: list[CgroupMount]) -> list[OwnCgroup]:
    """This process's cgroup in every hierarchy that is among these mounts."""
    found = []
    for line in _read("/proc/self/cgroup").decode(errors="surrogateescape").splitlines():
        number, names, path = line.split(":", 2)
        version, controllers = (2, ()) if number == "0" else (1, tuple(names.split(",")))
        for mount in mounts:
            root = mount.root.rstrip("/")
            beneath = path == root or path.startswith(f"{root}/")
            same = mount.version == version and mount.options.issuperset(controllers)
            if same and beneath and not path.startswith("/.."):
                directory = (mount.point + path[len(root) :]).rstrip("/")
                found.append(OwnCgroup(version, controllers, mount.point, directory))
                break
    return found


def unescape_mount(field: str) -> str:
    """A path of mountinfo's, where space, tab, newline and backslash stand in octal (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def read_stat(pid: int) -> Stat:
    """Raises ProcessLookupError when the process is gone."""
    data = _read(f"/proc/{pid}/stat")
    # The name in parentheses may hold anything, so count fields from the last closing one.
    fields = data[data.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        parent=int(fields[1]),
        start=int(fields[19]),
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        memory=int(fields[21]) * _PAGE,
        state=fields[0].decode(),
        threads=int(fields[17]),
        forked_only=bool(int(fields[6]) & _PF_FORKNOEXEC),
    )


def thread_states(pid: int) -> list[str]:
    """The state of each thread, a letter as in /proc/PID/stat; none when the process is gone."""
    states = []
    for thread in threads(pid):
        try:
            data = _read(f"/proc/{pid}/task/{thread}/stat")
        except ProcessLookupError:
            continue
        states.append(data[data.rindex(b")") + 2 :].split(None, 1)[0].decode())
    return states


def threads(pid: int) -> list[int]:
    """The threads of a process; none when it is gone."""
    try:
        return [int(name) for name in _listdir(f"/proc/{pid}/task")]
    except ProcessLookupError:
        return []


def thread_group(thread: int) -> int:
    """The process a thread belongs to."""
    return _status_field(thread, b"Tgid:", 10)


def thread_count(pid: int) -> int:
    """How many threads a process has, those included that wait to be reaped."""
    return _status_field(pid, b"Threads:", 10)


def file_mode_mask(pid: int) -> int:
    """The process's umask."""
    return _status_field(pid, b"Umask:", 8)


def children(pid: int) -> list[int]:
    """The living children of all threads of a process (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    for thread in _listdir(f"/proc/{pid}/task"):
        try:
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
        except ProcessLookupError:
            continue
    return found


def parents() -> dict[int, int]:
    """Every process on the machine with its parent."""
    table: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                table[int(name)] = read_stat(int(name)).parent
            except ProcessLookupError:
                continue
    return table


def read_link(path: str) -> str:
    """A link under /proc; raises ProcessLookupError when gone, PermissionError when the process may not be read."""
    try:
        return os.readlink(path)
    except FileNotFoundError as problem:
        raise ProcessLookupError(problem.errno, path) from None


def command_line(pid: int, limit: int = 65536) -> tuple[list[str], bool]:
    """The argument vector and whether it was cut at `limit` bytes."""
    data = _read(f"/proc/{pid}/cmdline", limit + 1)
    truncated = len(data) > limit
    words = data[:limit].rstrip(b"\0").split(b"\0") if data else []
    return [os.fsdecode(word) for word in words], truncated


def descriptors(pid: int) -> dict[int, tuple[str, int]]:
    """Open descriptors of a process: number -> (link target, open flags)."""
    table: dict[int, tuple[str, int]] = {}
    for name in _listdir(f"/proc/{pid}/fd"):
        try:
            target = read_link(f"/proc/{pid}/fd/{name}")
            flags = 0
            for line in _read(f"/proc/{pid}/fdinfo/{name}").splitlines():
                if line.startswith(b"flags:"):
                    flags = int(line.split()[1], 8)
            table[int(name)] = (target, flags)
        except (ProcessLookupError, PermissionError):
            continue
    return table


def socket_inodes(pid: int) -> dict[int, int]:
    """Open sockets of a process: number -> inode."""
    table: dict[int, int] = {}
    for name in _listdir(f"/proc/{pid}/fd"):
        try:
            target = read_link(f"/proc/{pid}/fd/{name}")
        except ProcessLookupError:
            continue
        if target.startswith("socket:["):
            table[int(name)] = int(target[8:-1])
    return table


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Exactly `size` bytes at `address`; raises OSError EFAULT when they are not mapped."""
    buffer = ctypes.create_string_buffer(size)
    local = _Vector(ctypes.addressof(buffer), size)
    remote = _Vector(address, size)
    count = libc_call(
        "process_vm_readv",
        pid,
        ctypes.byref(local),
        ctypes.c_ulong(1),
        ctypes.byref(remote),
        ctypes.c_ulong(1),
        ctypes.c_ulong(0),
        what=f"process_vm_readv {pid}",
    )
    if count != size:
        raise OSError(errno.EFAULT, f"process_vm_readv {pid}: {os.strerror(errno.EFAULT)}")
    return buffer.raw


def write_memory(pid: int, address: int, data: bytes) -> None:
    """Write `data` at `address`; raises OSError EFAULT when it is not mapped, or not writable."""
    buffer = ctypes.create_string_buffer(data, len(data))
    local = _Vector(ctypes.addressof(buffer), len(data))
    remote = _Vector(address, len(data))
    libc_call(
        "process_vm_writev",
        pid,
        ctypes.byref(local),
        ctypes.c_ulong(1),
        ctypes.byref(remote),
        ctypes.c_ulong(1),
        ctypes.c_ulong(0),
        what=f"process_vm_writev {pid}",
    )


def read_string(pid: int, address: int, limit: int = PATH_MAX) -> bytes:
    """A NUL-terminated string; raises OSError EFAULT when unmapped, ENAMETOOLONG beyond `limit`.

    Read page by page: a string that ends just before an unmapped page is whole.
    """
    data = b""
    while len(data) < limit:
        here = address + len(data)
        wanted = min(_PAGE - here % _PAGE, limit - len(data))
        piece = read_memory(pid, here, wanted if data else min(wanted, _SHORT))
        end = piece.find(b"\0")
        if end >= 0:
            return data + piece[:end]
        data += piece
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def network_namespace(pid: int | str) -> int:
    """The inode of the network namespace of a thread, or of ourselves (`self`)."""
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def boot_id() -> str:
    """The random id of this boot, which makes (pid, start) unique for ever."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _status_field(pid: int, name: bytes, base: int) -> int:
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(name):
            return int(line.split()[1], base)
    raise ProcessLookupError(errno.ESRCH, f"/proc/{pid}/status")


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError) as problem:
        raise ProcessLookupError(problem.errno, path) from None


def _read(path: str, limit: int = 1 << 20) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pieces = []
            while limit > 0 and (piece := os.read(descriptor, min(limit, 65536))):
                pieces.append(piece)
                limit -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)
    except FileNotFoundError as problem:
        raise ProcessLookupError(problem.errno, path) from None
