"""No file outside the grants is cut where Landlock has no right for that (below ABI 3).

truncate(2) is done by the deputy. An open that truncates without being for writing is refused by its flags alone, and
openat2, whose flags may change in memory, is made missing: programs that find it so go on with openat.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable

from remit.kernel import proc
from remit.kernel.seccomp import Question
from remit.protocol import Message
from remit.supervisor.answer_calls import Handler
from remit.supervisor.answer_files import AT_FDCWD, LOW, asked_open, granted, locate, masked
from remit.supervisor.answers import Answer, Desk, Fail, Later, record_refusal
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.processes import Process

_FLAGS = {"open": 1, "openat": 2}
_ACCESS_MODE = 3
_CLAUSE = "below Landlock ABI 3 only an open for writing truncates"

Respond = Callable[[Question, int], None]


class TruncateAnswers:
    """Answers truncate. In full sight `note` records what is foretold; else what was refused is recorded."""

    def __init__(self, deputy: DeputyClient, respond: Respond) -> None:
        self._deputy = deputy
        self._respond = respond
        self.note: Handler | None = None

    def truncate(self, desk: Desk, process: Process, question: Question, name: str) -> Answer:
        if self.note is not None:
            self.note(desk, process, question, name)
        length = question.arguments[1]
        if length >> 63:
            return Fail(errno.EINVAL)
        place = locate(question.pid, AT_FDCWD, os.fsdecode(proc.read_string(question.pid, question.arguments[0])))
        if place.error:
            return Fail(place.error)
        if 0 <= resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] < length:
            return Fail(errno.EFBIG)

        def finish(outcome: Message) -> None:
            error = int(outcome["errno"])
            if error in (errno.EACCES, errno.EROFS) and self.note is None:
                _record_refusal(desk, process, place.path, error)
            self._respond(question, error)

        request: Message = {"do": "truncate", "path": place.path, "length": length}
        self._deputy.ask(request, (), process, finish)
        return Later()


def without_truncating(answer: Handler) -> Handler:
    """The same for opens, but none truncates that is not for writing by its registers."""

    def restricted(desk: Desk, process: Process, question: Question, name: str) -> Answer:
        if name == "openat2":
            answer(desk, process, question, name)
            return Fail(errno.ENOSYS)
        flags = question.arguments[_FLAGS[name]] & LOW if name in _FLAGS else os.O_WRONLY
        if not flags & os.O_TRUNC or flags & _ACCESS_MODE in (os.O_WRONLY, os.O_RDWR):
            return answer(desk, process, question, name)
        opened = asked_open(question, name)
        if granted(desk, process, locate(question.pid, opened.directory, opened.path, flags).path, "write"):
            return record_refusal(desk, "privilege", process, name, question, errno.EACCES, _CLAUSE, wall="files")
        answer(desk, process, question, name)  # which records what no grant covers
        return Fail(errno.EACCES)

    return restricted


def _record_refusal(desk: Desk, process: Process, path: str, error: int) -> None:
    if granted(desk, process, path, "write"):
        return  # by plain permissions
    mask = masked(desk, path, "write")
    desk.record(
        "change",
        process=process.identity,
        operation="truncate",
        path=path,
        errno=error,
        refused=True,
        wall="masks" if mask else "files",
        clause=mask or "files.write",
        predicted=False,
    )
