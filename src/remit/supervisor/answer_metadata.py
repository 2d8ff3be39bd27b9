"""A file's mode, owner, times and attributes change only where the scope lets its content be written.

Landlock leaves these to plain permissions. Every call is a question: the path is resolved and judged, and the deputy
does the act on the file that it opens under that very path, with no link in it, so that nothing the agent changes
meanwhile matters. By a descriptor it is the descriptor's file, however often its number is used again.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Callable
from typing import Any

from remit.boundary.mask_mounts import SHARED
from remit.kernel import paths, proc
from remit.kernel.paths import is_inside
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.protocol import Message
from remit.supervisor import views
from remit.supervisor.answer_files import AT_FDCWD, LOW, granted, locate, masked
from remit.supervisor.answers import Answer, Desk, Fail, Later
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.observing import uncovered_write
from remit.supervisor.processes import Process

_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_NAME_MAX, _VALUE_MAX = 255, 65536  # xattr(7)
_CALLERS_FAULT = (errno.EFAULT, errno.ENOENT, errno.ENAMETOOLONG, errno.E2BIG, errno.ERANGE, errno.EINVAL)
_TIMESPECS = struct.Struct("=qqqq")
# Libraries name an open file like this, one without a name too, where a call takes no descriptor (proc(5)).
_OWN_DESCRIPTOR = r"(?a:(?:/proc/(?:self|thread-self)|/dev)/fd/(0|[1-9]\d{0,8}))"

Respond = Callable[[Question, int], object]


class _Call(Data):
    """Which register holds what. A call without a path is by descriptor."""

    change: str
    values: int  # the first register of what is to be set
    path: int | None = None
    directory: int | None = None
    descriptor: int | None = None
    flags: int | None = None
    follow: bool = True


_CALLS = {
    "chmod": _Call("chmod", 1, path=0),
    "fchmod": _Call("chmod", 1, descriptor=0),
    "fchmodat": _Call("chmod", 2, path=1, directory=0),
    "chown": _Call("chown", 1, path=0),
    "lchown": _Call("chown", 1, path=0, follow=False),
    "fchown": _Call("chown", 1, descriptor=0),
    "fchownat": _Call("chown", 2, path=1, directory=0, flags=4),
    "utime": _Call("utime", 1, path=0),
    "utimes": _Call("utime", 1, path=0),
    "futimesat": _Call("utime", 2, path=1, directory=0),
    "utimensat": _Call("utime", 2, path=1, directory=0, flags=3),
    "setxattr": _Call("setxattr", 1, path=0),
    "lsetxattr": _Call("setxattr", 1, path=0, follow=False),
    "fsetxattr": _Call("setxattr", 1, descriptor=0),
    "removexattr": _Call("setxattr", 1, path=0),
    "lremovexattr": _Call("setxattr", 1, path=0, follow=False),
    "fremovexattr": _Call("setxattr", 1, descriptor=0),
}
NAMES = tuple(_CALLS)


class Metadata:
    """Answers the calls in NAMES."""

    def __init__(
        self, desk: Desk, deputy: DeputyClient, respond: Respond, is_valid: Callable[[Question], bool]
    ) -> None:
        self._desk = desk
        self._deputy = deputy
        self._respond = respond
        self._is_valid = is_valid

    def change(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        """Judge where the change would be, and have it done there."""
        call = _CALLS[name]
        flags = 0 if call.flags is None else question.arguments[call.flags] & LOW
        if flags & ~(_AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH):
            return Fail(errno.EINVAL)
        try:
            request = {"do": "metadata", "change": call.change, **_values(question, name, call.values)}
            asked = _asked(question, call, flags)
        except OSError as problem:
            if problem.errno in _CALLERS_FAULT:
                return Fail(problem.errno)
            raise
        if asked is None:
            register = call.directory if call.descriptor is None else call.descriptor
            return self._by_descriptor(process, question, call.change, question.arguments[register or 0], request)
        follow = call.follow and not flags & _AT_SYMLINK_NOFOLLOW
        if follow and (own := re.fullmatch(_OWN_DESCRIPTOR, asked)):
            return self._by_descriptor(process, question, call.change, int(own[1]), request, errno.ENOENT)
        directory = AT_FDCWD if call.directory is None else question.arguments[call.directory] & LOW
        if views.is_foreign(question.pid):
            return self._by_foreign_path(process, question, directory, asked, follow, request)
        place = locate(question.pid, directory, asked, 0 if follow else os.O_NOFOLLOW)
        if place.error:
            return Fail(place.error)
        refusal = self._judge(process, question, call.change, place.path)
        if refusal is not None:
            return refusal
        return self._delegate(process, question, {**request, "path": place.path, "follow": follow})

    def _by_foreign_path(
        self, process: Process, question: Question, directory: int, asked: str, follow: bool, request: Message
    ) -> Answer:
        """What a path means where its caller has mounts of its own: opened once, as the kernel would for the caller."""
        start = f"/proc/{question.pid}/cwd" if directory == AT_FDCWD else f"/proc/{question.pid}/fd/{directory}"
        try:
            file = views.open_foreign(question.pid, start, asked, no_follow=not follow)
        except OSError as problem:
            return Fail(problem.errno or errno.EIO)
        return self._on_file(process, question, request["change"], file, request)

    def _by_descriptor(
        self,
        process: Process,
        question: Question,
        change: str,
        number: int,
        request: Message,
        missing: int = errno.EBADF,
    ) -> Answer:
        try:
            file = paths.open_path(f"/proc/{question.pid}/fd/{number & LOW}", None)
        except FileNotFoundError:
            return Fail(missing)
        return self._on_file(process, question, change, file, request)

    def _on_file(self, process: Process, question: Question, change: str, file: int, request: Message) -> Answer:
        """Judge by the name of a file that is open, and have it done to that file. It is closed here, or handed on."""
        try:
            if self._desk.plan.view:
                path, nameless = self._name_in_view(question.pid, file)
            else:
                path = paths.path_of(file)
                # What has no name, or none any more, is the agent's own: it can have it only from itself.
                nameless = not path.startswith("/") or os.fstat(file).st_nlink == 0
            if nameless:
                refusal = None if self._is_valid(question) else Fail(errno.ESRCH)
            else:
                refusal = self._judge(process, question, change, path)
        except BaseException:
            os.close(file)
            raise
        if refusal is not None:
            os.close(file)
            return refusal
        return self._delegate(process, question, request, file)

    @staticmethod
    def _name_in_view(thread: int, file: int) -> tuple[str, bool]:
        """Its name, and whether it is the agent's own for want of one. A mount made inside may be called anything."""
        path = views.own_name(thread, file)
        if path is None:
            return views.NAMELESS, views.is_own(thread, file) or os.fstat(file).st_nlink == 0
        return path, not path.startswith("/")

    def _judge(self, process: Process, question: Question, change: str, path: str) -> Fail | None:
        if not self._is_valid(question):
            return Fail(errno.ESRCH)  # the caller died, and what was read may have been another's
        grant = granted(self._desk, process, path, "write")
        if grant is not None and not (change != "utime" and grant.startswith("use:") and self._is_shared_device(path)):
            return None
        clause = masked(self._desk, path, "write") or "files.write"
        members = uncovered_write(self._desk.plan, path, clause, new_name=False)
        if members["refused"]:
            members |= {"errno": errno.EPERM, "wall": "metadata"}  # as for a file of somebody else
        self._desk.record("change", process=process.identity, operation=change, path=path, **members)
        return Fail(errno.EPERM) if members["refused"] else None

    def _is_shared_device(self, path: str) -> bool:
        """Presets grant the user's terminals, which others use too: who may open those is not the agent's to say."""
        own = [mask.path for mask in self._desk.plan.masks if mask.kind in SHARED.values()]
        return is_inside(path, "/dev") and not any(is_inside(path, place) for place in ("/dev/shm", *own))

    def _delegate(self, process: Process, question: Question, request: Message, *file: int) -> Answer:
        def finish(outcome: Message) -> None:
            error = int(outcome["errno"])
            if error == errno.ELOOP or outcome.get("refused"):
                clause = "a link came into the path meanwhile" if error == errno.ELOOP else "the deputy did not answer"
                members = {"errno": error, "refused": True, "wall": "metadata", "clause": clause}
                change, path = request["change"], request.get("path", "")
                self._desk.record("change", process=process.identity, operation=change, path=path, **members)
            self._respond(question, error)

        self._deputy.ask(request, file, process, finish)
        return Later()


def _asked(question: Question, call: _Call, flags: int) -> str | None:
    """The path that is named; None when the call means a descriptor itself."""
    if call.path is None:
        return None
    address = question.arguments[call.path]
    if address == 0 and call.change == "utime" and call.directory is not None:
        return None  # futimens(3)
    asked = os.fsdecode(proc.read_string(question.pid, address))
    if asked:
        return asked
    if not flags & _AT_EMPTY_PATH:
        raise OSError(errno.ENOENT, "an empty path")
    directory = question.arguments[call.directory or 0] & LOW
    return "." if directory == AT_FDCWD else None


def _values(question: Question, name: str, first: int) -> Message:
    """What is to be set, read once. Raises OSError."""
    values = question.arguments[first:]
    match _CALLS[name].change:
        case "chmod":
            return {"mode": values[0] & 0o7777}
        case "chown":
            return {"owner": [_identity(values[0]), _identity(values[1])]}
        case "utime":
            return {"times": _times(question.pid, name, values[0])}
    attribute = _attribute_name(question.pid, values[0])
    if "remove" in name:
        return {"name": attribute, "value": None}
    size = values[2]
    if size > _VALUE_MAX:
        raise OSError(errno.E2BIG, "an attribute's value is too long")
    value = proc.read_memory(question.pid, values[1], size) if size else b""
    return {"name": attribute, "value": value.hex(), "flags": values[3] & LOW}


def _identity(register: int) -> int:
    """A uid or gid; all ones leaves it as it is, which Python writes -1."""
    value = register & LOW
    return -1 if value == LOW else value


def _times(pid: int, name: str, address: int) -> str | None:
    """Access and modification time as struct timespec[2] in hex, None for now."""
    if address == 0:
        return None
    if name == "utime":
        accessed, modified = struct.unpack("=qq", proc.read_memory(pid, address, 16))
        return _TIMESPECS.pack(accessed, 0, modified, 0).hex()
    raw = proc.read_memory(pid, address, _TIMESPECS.size)
    if name == "utimensat":
        return raw.hex()
    accessed, more, modified, rest = _TIMESPECS.unpack(raw)
    if not (0 <= more < 1_000_000 and 0 <= rest < 1_000_000):
        raise OSError(errno.EINVAL, "microseconds out of range")
    return _TIMESPECS.pack(accessed, more * 1000, modified, rest * 1000).hex()


def _attribute_name(pid: int, address: int) -> str:
    name: Any = proc.read_string(pid, address)
    if not 0 < len(name) <= _NAME_MAX:
        raise OSError(errno.ERANGE, "an attribute's name is empty or too long")
    return bytes(name).hex()
