"""What really ran: the image is read at the exec stop, after the kernel has chosen it and before it has run anything.

A path in the caller's memory proves nothing, because another thread can change it. So the caller is seized, the call
goes on, and the process is read, and if its image is forbidden killed, at the stop that follows.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import os
import signal
import stat
from collections.abc import Callable

from remit.kernel import pidfd, proc, ptrace
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.supervisor import views
from remit.supervisor.answer_files import granted, resolve
from remit.supervisor.answers import Answer, Desk, Fail, Later, Proceed
from remit.supervisor.processes import Process, Spawned

_AT_FDCWD = -100 & 0xFFFFFFFF
_LOW = 0xFFFFFFFF
_LOADER_CLAUSE = "the loader would run a file that the scope may not let run"
_LOADERS = ("/lib*/ld-*.so*", "/lib/*/ld-*.so*", "/usr/lib*/ld-*.so*", "/usr/lib/*/ld-*.so*")


class _Pending(Data):
    process: Process
    thread: int
    directory: int
    address: int  # of the path, in the caller's memory
    asked: str = ""  # what it leads to, while observing: a script is not the image that runs it


class ExecStops:
    """Follows each exec from its question to its stop. `proceed` lets a question's call run; `killable` says that
    nothing but death ends the wait for an answer (WAIT_KILLABLE_RECV)."""

    def __init__(
        self,
        desk: Desk,
        proceed: Callable[[Question], bool],
        is_valid: Callable[[Question], bool],
        killable: bool,
    ) -> None:
        self._desk = desk
        self._proceed = proceed
        self._is_valid = is_valid
        self._killable = killable
        self._pending: dict[int, _Pending] = {}
        # Threads of a process that another thread's exec will end, or whose turn comes when that has failed. Seizing
        # two of them would hang us: the seizure of one waits for the exec of another, which waits for us to reap a
        # third that it has killed (ptrace(2), BUGS; de_thread in fs/exec.c).
        self._queued: dict[int, list[tuple[Question, str]]] = {}

    def begin(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """execve and execveat: trace until the exec has happened or failed.

        The zygote's own child cannot be traced, for it still holds the caller's memory. Nobody else can change what
        it asks for, so that is looked at before; and what it really runs is read at its first question.
        """
        if process.asked is not None and proc.read_stat(process.pid).forked_only:
            return self._begin_spawned(process, process.asked)
        if any(pending.process is process for pending in self._pending.values()):
            self._queued.setdefault(process.pid, []).append((question, name))
            return Later()
        directory, address = _AT_FDCWD, question.arguments[0]
        if name == "execveat":
            directory, address = question.arguments[0] & _LOW, question.arguments[1]
        pending = _Pending(process, question.pid, directory, address, self._asked(question.pid, directory, address))
        try:
            ptrace.seize(question.pid)
        except OSError:
            # Somebody else traces it already. The image is read at its next question instead.
            process.unconfirmed = True
            return Proceed()
        self._pending[question.pid] = pending
        # Before the answer if that is possible: later, a process whose exec failed may exit before it has stopped,
        # and what it tried would go unread. A wait that signals break would be broken by this, and for ever.
        if self._killable:
            _interrupt(question.pid)
        if self._proceed(question) and not self._killable:
            _interrupt(question.pid)
        return Later()  # also if it died meanwhile: the wait status will tell

    def _asked(self, pid: int, directory: int, address: int) -> str:
        if not self._desk.plan.observe:
            return ""
        return resolve(pid, directory, os.fsdecode(proc.read_string(pid, address)))[0]

    def _begin_spawned(self, process: Process, asked: Spawned) -> Answer:
        program = _find_program(asked)
        if program is not None and _is_loader(program.path, program.file):
            self._record(
                process,
                program.path,
                program.file.st_dev,
                program.file.st_ino,
                asked.arguments,
                False,
                asked.directory,
                False,
                errno.EACCES,
                _LOADER_CLAUSE,
            )
            return Fail(errno.EACCES)
        process.unconfirmed = True
        return Proceed()

    def stopped(self, thread: int, status: int) -> None:
        """A wait status of a tracee that stopped."""
        event, number = ptrace.stop_event(status)
        deliver = 0
        if event == ptrace.EVENT_EXEC:
            pending = self._take_executed(thread)
            if pending is not None:
                self._executed(pending)
        else:
            pending = self._pending.pop(thread, None)
            if pending is not None:
                self._failed(pending)
            if ptrace.is_signal_stop(status):
                deliver = number
        try:
            ptrace.detach(thread, deliver)
        except OSError:
            pass  # killed while it was stopped
        if pending is not None:
            self._next(pending.process)

    def ended(self, thread: int) -> None:
        """A tracee died."""
        pending = self._pending.pop(thread, None)
        if pending is not None:
            self._next(pending.process)

    def _next(self, process: Process) -> None:
        """Begin the next exec that waited for this process's last one; those of threads that it ended are gone."""
        waiting = self._queued.pop(process.pid, [])
        while waiting:
            question, name = waiting.pop(0)
            if not self._is_valid(question):
                continue
            if isinstance(self.begin(self._desk, process, question, name), Later):
                self._queued[process.pid] = waiting
                return
            self._proceed(question)

    def confirm(self, process: Process) -> None:
        """Read a process whose exec could not be traced, at its next question."""
        process.unconfirmed = False
        asked, process.asked = process.asked, None
        if asked is not None and proc.read_stat(process.pid).forked_only:
            words = asked.arguments
            self._record(process, words[0], 0, 0, words, False, "", False, errno.ENOEXEC, "", refused=False)
        else:
            # What runs now is what was started: the only way to another image is another question.
            program = _find_program(asked) if asked is not None and self._desk.plan.observe else None
            self._read(
                process,
                arguments=asked.arguments if asked else None,
                confirmed=asked is not None,
                asked=program.path if program else "",
            )

    def unread(self, process: Process) -> None:
        """A process ended, maybe before what it ran could be read."""
        self._queued.pop(process.pid, None)
        if process.unconfirmed:
            words = process.asked.arguments if process.asked else [""]
            self._record(process, words[0], 0, 0, words, False, "", False, 0, "")

    def _take_executed(self, pid: int) -> _Pending | None:
        """The exec that has happened in this process, by whichever of its threads: one at a time is let go."""
        threads = [thread for thread, pending in self._pending.items() if pending.process.pid == pid]
        return self._pending.pop(threads[0]) if threads else None

    def _executed(self, pending: _Pending) -> None:
        self._read(pending.process, confirmed=True, asked=pending.asked)

    def _read(self, process: Process, *, confirmed: bool, arguments: list[str] | None = None, asked: str = "") -> None:
        """Record the image and, unless they are known, the arguments, which a program may rewrite once it runs."""
        pid = process.pid
        image, device, inode, truncated, directory, clause = "", 0, 0, False, "", ""
        try:
            link = proc.read_link(f"/proc/{pid}/exe")
            image = views.name_of(pid, f"/proc/{pid}/exe")
            found = os.stat(f"/proc/{pid}/exe")
            device, inode = found.st_dev, found.st_ino
            if arguments is None:
                arguments, truncated = proc.command_line(pid)
            directory = _directory(pid)
            if link.startswith("/memfd:"):
                clause = "a program must be a file that the scope lets run, not memory"
            elif _is_loader(image, found, any_name=views.is_foreign(pid)):
                clause = _LOADER_CLAUSE
        except ProcessLookupError:
            return
        except OSError:
            clause = "a program that cannot be read cannot be watched"
        if clause:
            pidfd.send_signal(process.pidfd, signal.SIGKILL)
        self._record(
            process,
            image,
            device,
            inode,
            arguments or [],
            truncated,
            directory,
            confirmed,
            errno.EACCES if clause else 0,
            clause or granted(self._desk, process, image, "execute") or "",
            observed=None if clause else self._uncovered(process, image, asked),
        )

    def _uncovered(self, process: Process, image: str, asked: str) -> str | None:
        """What no grant lets run, while observing: the script that was asked for, or the image."""
        if not self._desk.plan.observe:
            return None
        return next(
            (path for path in (asked, image) if path and granted(self._desk, process, path, "execute") is None), None
        )

    def _failed(self, pending: _Pending) -> None:
        """The call returned an error. Searches for a program are not recorded; refusals are.

        The path is read only now: it may have changed since the kernel read it, but it is a witness, not a wall.
        """
        try:
            asked = os.fsdecode(proc.read_string(pending.thread, pending.address))
            path, found = resolve(pending.thread, pending.directory, asked)
        except OSError:
            return  # the path was not readable, which is why the call failed
        found = found or views.is_hidden(pending.thread, path)
        if not found or granted(self._desk, pending.process, path, "execute") is not None or self._desk.plan.observe:
            return
        self._record(pending.process, path, 0, 0, [], False, "", False, errno.EACCES, "files.execute")

    def _record(
        self,
        process: Process,
        image: str,
        device: int,
        inode: int,
        arguments: list[str],
        truncated: bool,
        directory: str,
        confirmed: bool,
        error: int,
        clause: str,
        *,
        refused: bool | None = None,
        observed: str | None = None,
    ) -> None:
        refused = bool(error) if refused is None else refused
        self._desk.record(
            "exec",
            process=process.identity,
            image=image,
            device=device,
            inode=inode,
            arguments=arguments,
            truncated=truncated,
            directory=directory,
            confirmed=confirmed,
            errno=error,
            refused=refused,
            wall=("files" if clause == "files.execute" else "images") if refused else "files" if observed else "",
            clause="files.execute" if observed else clause,
            **({"observed": True, "uncovered": observed} if observed else {}),
        )


def _interrupt(thread: int) -> None:
    try:
        ptrace.interrupt(thread)
    except OSError:
        pass  # gone, or at its exec stop already


class _Program(Data):
    path: str
    file: os.stat_result


def _directory(pid: int) -> str:
    """Where a process works, or nothing when that is deeper than the kernel can tell."""
    try:
        return views.name_of(pid, f"/proc/{pid}/cwd")
    except ProcessLookupError:
        raise
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, "it is gone") from None
    except OSError as problem:
        if problem.errno != errno.ENAMETOOLONG:
            raise
        return ""


def _find_program(asked: Spawned) -> _Program | None:
    """The file that the zygote's child is about to run, as execvp(3) finds it."""
    name = asked.arguments[0]
    places = [""] if "/" in name else [place or "." for place in asked.search_path.split(os.pathsep)]
    for place in places:
        path = os.path.join(asked.directory, place, name)
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(found.st_mode) and os.access(path, os.X_OK):
            return _Program(os.path.realpath(path), found)
    return None


def _is_loader(path: str, file: os.stat_result, *, any_name: bool = False) -> bool:
    """Whether this is a dynamic loader of this machine, each of which runs any file as its argument.

    Looking for them all takes long. It is put off until a program has such a name, or a library's (musl's loader is
    its libc.so, and `ld-musl-*.so.1` a link to it), or may have it beside its own.
    """
    name = path.rpartition("/")[2]
    suspect = any_name or name.startswith("ld-") or ".so" in name or file.st_nlink > 1
    return suspect and (file.st_dev, file.st_ino) in _loaders()


@functools.cache
def _loaders() -> frozenset[tuple[int, int]]:
    """Device and inode of each."""
    found = set()
    for pattern in _LOADERS:
        for path in _matching(pattern):
            try:
                file = os.stat(path)
            except OSError:
                continue
            found.add((file.st_dev, file.st_ino))
    return frozenset(found)


def _matching(pattern: str) -> list[str]:
    """As glob.glob, for patterns that begin at the root; nothing may be imported once the agent runs."""
    found = [""]
    for part in pattern.split("/")[1:]:
        found = [f"{path}/{name}" for path in found for name in _names(path) if fnmatch.fnmatchcase(name, part)]
    return found


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path or "/")
    except OSError:
        return []
