"""Opens for writing are witnessed, not decided: Landlock enforces, the record says what was asked and what must follow.

The path is resolved by the kernel through a path-only descriptor, from where the caller stands. The argument may have
raced; the record says so (`predicted`), and the wall does not depend on it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Any

from remit.kernel import paths, proc
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.supervisor import views
from remit.supervisor.answers import Answer, Desk, Fail, Proceed
from remit.supervisor.observing import uncovered_write
from remit.supervisor.processes import Process
from remit.supervisor.views import NAMELESS

OPENS = ("open", "openat", "openat2", "creat")
AT_FDCWD = -100 & 0xFFFFFFFF
LOW = 0xFFFFFFFF
_IN_VIEW = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS
_STOPPED = (errno.EXDEV, errno.ELOOP)
_LINKS_MAX = 40  # as the kernel's own (path_resolution(7))
_ACCESS_MODE = 3
WRITING = _ACCESS_MODE | os.O_CREAT | os.O_TRUNC
# Written by every shell and saying nothing about what a task does.
PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/random", "/dev/urandom")
GPU_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel", "/dev/dxg")

# What is dumped in a crash (a JVM), a thread's name, how soon it is killed for memory, how late its timers may be.
_OWN_SETTINGS = r"/proc/(\d+)(?:/task/(\d+))?/(?:coredump_filter|comm|oom_score_adj|timerslack_ns)"


class Place(Data):
    """Where an open leads. `error` is what the kernel says to it apart from our walls: ENOENT with `room` set when only
    the file itself is missing, so that it can be made."""

    path: str
    error: int = 0
    room: bool = False


# The kernel lets nobody beneath Landlock open these of a process that is not beneath it too (ptrace(2), landlock(7)).
_PRIVATE = (
    r"/proc/(\d+)/(?:task/\d+/)?(?:mem|environ|maps|smaps|smaps_rollup|numa_maps|auxv|pagemap|syscall|personality)"
)
OUTSIDER_CLAUSE = "only processes of the session may be looked into"


class Opened(Data):
    """What an open asks for."""

    directory: int
    path: str
    flags: int
    how: int  # of openat2


def open_file(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """open, openat, openat2 and creat in normal sight: only opens for writing are looked at."""
    opened = asked_open(question, name)
    # openat2 always asks, because its flags are in memory.
    return open_for_writing(desk, process, question, opened) if opened.flags & WRITING else Proceed()


def open_for_writing(desk: Desk, process: Process, question: Question, opened: Opened) -> Answer:
    """Record what would be written, then let Landlock decide."""
    directory, asked, flags, how = opened
    place = locate(question.pid, directory, asked, flags, how)
    path = place.path
    if _is_hidden(desk, process, question.pid, place, flags):
        _record(desk, "open", process, asked, place, flags, 0, denied=errno.ENOENT)
        return Proceed()
    if path.startswith(GPU_DEVICES):
        _record_device(desk, process, asked, place, flags)
    elif path not in PLAIN_DEVICES and not path.startswith(("/dev/pts/", "pipe:", "socket:")):
        _record_open(desk, process, asked, place, flags)
    if flags & _ACCESS_MODE == _ACCESS_MODE:
        # A descriptor for ioctl only, neither reading nor writing: Landlock asks for no right on the file, so nothing
        # may hang on a path that can still change.
        return Fail(errno.ENOENT if place.error == errno.ENOENT else errno.EACCES)
    return Proceed()


def resolve(pid: int, directory: int, asked: str) -> tuple[str, bool]:
    """The path as the kernel resolves it for `pid`, and whether something is there."""
    place = locate(pid, directory, asked)
    return place.path, place.error == 0


def locate(pid: int, directory: int, asked: str, flags: int = 0, how: int = 0) -> Place:
    """Where `asked` leads for `pid`, seen from its descriptor `directory`; `how` is openat2's. Never raises OSError."""
    confined = how & (paths.RESOLVE_BENEATH | paths.RESOLVE_IN_ROOT)
    name = asked if confined else _as_seen_by(pid, asked)
    start = f"/proc/{pid}/cwd" if directory == AT_FDCWD else f"/proc/{pid}/fd/{directory}"
    if views.applies():
        how &= ~paths.RESOLVE_NO_MAGICLINKS  # implied where a path is confined, and of no other use here
        if name and not confined:
            return _locate_in_view(pid, start, name, not flags & os.O_NOFOLLOW, how & ~paths.RESOLVE_CACHED)
    if name.startswith("/") and not confined:
        # From the caller's root: it may see other mounts than we do, or have another root.
        start, name = f"/proc/{pid}/root", name.lstrip("/")
    try:
        holder = paths.open_path(start, None)
    except OSError as problem:
        return Place(asked, problem.errno or errno.EBADF)
    try:
        follow = not flags & os.O_NOFOLLOW
        return _locate(pid, holder, name, follow, how & ~paths.RESOLVE_CACHED, _LINKS_MAX)
    finally:
        os.close(holder)


def _locate_in_view(pid: int, start: str, name: str, follow: bool, how: int) -> Place:
    """As `locate`, where the session has a view: links are followed beneath the thread's root, never beneath ours."""
    if own := re.fullmatch(rf"(/proc/{pid}/(?:cwd|root|fd/[0-9]+))/+([^/].*)", name, re.DOTALL):
        start, name = own[1], own[2]
    try:
        root = paths.open_path(f"/proc/{pid}/root", None)
    except OSError as problem:
        return Place(NAMELESS + name.lstrip("/"), problem.errno or errno.EIO)
    try:
        path = name if name.startswith("/") else f"{views.place_of(start)}/{name}"
        path = path.lstrip("/") or "."
        place = _locate(pid, root, path, follow, how | _IN_VIEW, _LINKS_MAX)
        # Not by the links in /proc that lead to what is open, or to a process's root: those lead where they lead.
        return _locate(pid, root, path, follow, how, _LINKS_MAX) if place.error in _STOPPED else place
    except OSError as problem:
        return Place(NAMELESS + name.lstrip("/"), problem.errno or errno.EIO)
    finally:
        os.close(root)


def _locate(pid: int, start: int, name: str, follow: bool, how: int, links: int) -> Place:
    try:
        # An empty name is the directory descriptor itself (AT_EMPTY_PATH); no other call that comes here takes one.
        found = paths.open_path(name, start, no_follow=not follow, resolve=how) if name else os.dup(start)
        return Place(_name_of(pid, found, name))
    except OSError as problem:
        if problem.errno != errno.ENOENT:
            return Place(_text(pid, start, name), problem.errno or errno.EIO)
    try:
        holder, missing = _deepest(start, name.rstrip("/"), how)
    except OSError:
        return Place(_text(pid, start, name), errno.ENOENT)
    try:
        last, _, rest = missing.partition("/")
        target = _link(last, holder) if (follow or rest) and how in (0, _IN_VIEW) and links > 0 else ""
        if target:  # it leads to what is missing, or to what is only where the caller looks
            # On the way there this is rare, and each of them takes the whole way again.
            return _follow(pid, holder, f"{target}/{rest}" if rest else target, follow, links - (10 if rest else 1))
        room = not rest and os.fstat(holder).st_nlink > 0  # nothing can be made in a directory that was removed
        parent = _name_of(pid, os.dup(holder), name.rstrip("/").removesuffix(missing))
        return Place(f"{parent.rstrip('/')}/{missing}", errno.ENOENT, room)
    finally:
        os.close(holder)


def _deepest(start: int, name: str, how: int) -> tuple[int, str]:
    """The deepest directory on the way to `name` that is there, and the rest of the way, which is missing.

    Found by halving: a name may have two thousand parts, and each of them lead over forty links. Raises OSError.
    """
    ends = [0, *(found.start() for found in re.finditer("/", name) if found.start())]
    holder = paths.open_path("/" if name.startswith("/") else ".", start, resolve=how)
    there, gone = 0, len(ends)
    while gone - there > 1:
        middle = (there + gone) // 2
        try:
            found = paths.open_path(name[: ends[middle]], start, resolve=how)
        except OSError:
            gone = middle
            continue
        os.close(holder)
        holder, there = found, middle
    return holder, name[ends[there] :].lstrip("/")


def _follow(pid: int, holder: int, target: str, follow: bool, links: int) -> Place:
    """Where the target of a link in `holder` leads. An absolute one begins at the caller's root, not at ours."""
    how = _IN_VIEW if views.applies() else 0
    if not target.startswith("/"):
        if not how:
            return _locate(pid, holder, target, follow, 0, links)
        target = f"{paths.path_of(holder).rstrip('/')}/{target}"
    try:
        root = paths.open_path(f"/proc/{pid}/root", None)
    except OSError as problem:
        return Place(target, problem.errno or errno.EIO)
    try:
        return _locate(pid, root, _as_seen_by(pid, target).lstrip("/"), follow, how, links)
    finally:
        os.close(root)


def granted(desk: Desk, process: Process | None, path: str, access: str) -> str | None:
    """The clause that grants a process, or every process, `access` on `path`, or None; a mask takes back what a grant
    gives."""
    return None if masked(desk, path, access) is not None else desk.grants(process).files.clause(path, access)


def looks_into_outsider(desk: Desk, path: str) -> bool:
    """Whether a path is the memory, the environment or the like of a process that is none of the session's."""
    private = re.fullmatch(_PRIVATE, path) if path.startswith("/proc/") else None
    return private is not None and desk.plan.landlock_abi > 0 and not desk.processes.is_ours(int(private[1]))


def asked_open(question: Question, name: str) -> Opened:
    """What this open asks for, read once. Raises OSError when its memory cannot be read."""
    directory, address, flags, how = _arguments(question, name)
    return Opened(directory, os.fsdecode(proc.read_string(question.pid, address)), flags, how)


def masked(desk: Desk, path: str, access: str) -> str | None:
    """The clause of a mask that keeps `access` from `path`, or None."""
    for mask in desk.plan.masks:
        place = mask.path.replace("$TMPDIR", desk.temporary_directory)
        held = mask.kind == "secret" or (mask.kind == "protected" and access == "write")
        if held and (path == place or path.startswith(place + "/")):
            return "files.secrets" if mask.kind == "secret" else "files.protect"
    return None


def _arguments(question: Question, name: str) -> tuple[int, int, int, int]:
    """The directory, the path's address, the flags, and how openat2 resolves."""
    arguments = question.arguments
    if name == "open":
        return AT_FDCWD, arguments[0], arguments[1] & LOW, 0
    if name == "creat":
        return AT_FDCWD, arguments[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0
    if name == "openat2":
        flags, how = paths.open_how(proc.read_memory(question.pid, arguments[2], paths.HOW_SIZE))
        return arguments[0] & LOW, arguments[1], flags & LOW, how
    return arguments[0] & LOW, arguments[1], arguments[2] & LOW, 0


def _as_seen_by(pid: int, asked: str) -> str:
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
    return asked


def _name_of(pid: int, descriptor: int, asked: str) -> str:
    """The path of a descriptor, which is closed here."""
    try:
        found = views.own_name(pid, descriptor)
    except OSError:
        found = None
    finally:
        os.close(descriptor)
    if found is None:
        return NAMELESS + asked.lstrip("/")
    # A symbolic link to /proc/self led to us instead of the caller, unless it was us who was asked for.
    own, meant = f"/proc/{os.getpid()}/", str(os.getpid()) in asked.split("/")
    return f"/proc/{pid}/{found[len(own) :]}" if found.startswith(own) and not meant else found


def _text(pid: int, start: int, name: str) -> str:
    """A path that leads nowhere, as it reads."""
    if views.is_foreign(pid):
        return NAMELESS + name.lstrip("/")
    if name.startswith("/"):
        return name
    try:
        return f"{paths.path_of(start).rstrip('/')}/{name}"
    except OSError:
        return name


def _link(name: str, directory: int) -> str:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return ""


def is_routine(pid: int, path: str) -> bool:
    """Whether a write would only set something harmless of the writer's own, as run times do when they start.

    The wall refuses it all the same, for Landlock cannot name the /proc entries of a process that is not there yet.
    """
    match = re.fullmatch(_OWN_SETTINGS, path)
    try:
        return match is not None and proc.thread_group(int(match[2] or match[1])) == pid
    except ProcessLookupError:
        return False


def _record_open(desk: Desk, process: Process, asked: str, place: Place, flags: int) -> None:
    if masked(desk, place.path, "write") is not None:
        _record(desk, "open", process, asked, place, flags, 0)
        return
    makes = bool(flags & os.O_CREAT)
    if (place.error == errno.ENOENT and not (makes and place.room)) or (place.error == errno.EACCES and not makes):
        return  # nothing there to write to: a search, not an act
    routine = granted(desk, process, place.path, "write") is None and is_routine(process.pid, place.path)
    more: dict[str, Any] = {"routine": True} if routine else {}
    if place.error == errno.ENOENT:
        more["new"] = True
    _record(desk, "open", process, asked, place, flags, 0 if place.error == errno.ENOENT else place.error, **more)


def _record_device(desk: Desk, process: Process, asked: str, place: Place, flags: int) -> None:
    more: dict[str, Any] = {"class": "gpu", "absent": place.error != 0}
    _record(desk, "device", process, asked, place, flags, place.error, **more)


def _record(
    desk: Desk,
    kind: str,
    process: Process,
    asked: str,
    place: Place,
    flags: int,
    error: int,
    denied: int = 0,
    **more: Any,
) -> None:
    """`denied`: what the kernel says where no grant covers it, if that is not what Landlock says."""
    clause = granted(desk, process, place.path, "write")
    mask = masked(desk, place.path, "write")
    lacking = mask or ("devices.gpu" if kind == "device" else "files.write")
    outcome: dict[str, Any] = {"errno": error, "refused": False, "wall": "", "clause": clause or lacking}
    # Where the name cannot be told, nothing can be foretold; Landlock needs no name.
    walled = not (desk.plan.view and not denied and _is_pipe(place.path))
    if clause is None and error in (0, errno.EACCES) and not place.path.startswith(NAMELESS) and walled:
        if mask is not None:
            denied = errno.EROFS if mask == "files.protect" else errno.EACCES
            outcome |= {"errno": denied, "refused": True, "wall": "masks"}
        elif looks_into_outsider(desk, place.path):
            outcome = outsider_refused()
        else:
            outcome = uncovered_write(desk.plan, place.path, lacking, new_name=place.error == errno.ENOENT)
            if desk.plan.view:
                outcome["errno"] = denied or errno.EROFS
    desk.record(
        kind,
        process=process.identity,
        path=place.path,
        asked=asked,
        flags=flags,
        **outcome,
        predicted=True,
        **more,
    )


def _is_pipe(path: str) -> bool:
    """Whether a file is one that a read-only mount lets be written to."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _is_hidden(desk: Desk, process: Process, thread: int, place: Place, flags: int) -> bool:
    """Whether a write is stopped by no more than this: that the session's view does not have the place."""
    if not desk.plan.view or place.error != errno.ENOENT or place.room:
        return False
    path = (place.path.rpartition("/")[0] or "/") if flags & os.O_CREAT else place.path
    return views.is_hidden(thread, path) and granted(desk, process, place.path, "write") is None


def outsider_refused() -> dict[str, Any]:
    """The members of a record of a look into a process that is none of the session's."""
    return {"errno": errno.EACCES, "refused": True, "wall": "files", "clause": OUTSIDER_CLAUSE, "outsider": True}
