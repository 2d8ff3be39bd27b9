"""What was done in a session, as far as a statement can be compared with it: files written, connects, programs.

Everything is bounded; what did not fit makes the answer "not known", and never "did not happen".
"""

from __future__ import annotations

import json
import posixpath
import re
from bisect import bisect_right
from typing import Any

from remit.attribution.deeds import WRITING, exit_status
from remit.events import Change, Connect, Exec, Exit, Open, ProcessEvent

_MOST = 50_000
_MOST_TEXT = 8 << 20  # characters of calls' arguments
_LONGEST_WORD, _MOST_WORDS = 200, 12
_CHANGING = 0o1000 | 0o2000 | 0o200  # O_TRUNC, O_APPEND, O_EXCL
_DELETERS = frozenset({"rm", "unlink", "shred"})
_NOT_REALLY = frozenset({"--dry-run", "-n", "--help", "-h", "--version"})
# A file of such a name is no result under a name of its own: it may be renamed to one, which leaves no record.
_NAMED_FOR_GOOD = re.compile(r"[^.#~][^#~]*\.(?!tmp$|temp$|part$|new$|bak$|sw[a-z]$)[A-Za-z][A-Za-z0-9]{0,5}")
# What test runs and tools write beside the work.
_BESIDE = (
    *("/__pycache__/", "/.pytest_cache/", "/.mypy_cache/", "/.ruff_cache/", "/node_modules/", "/target/", "/.git/"),
    *("/.tox/", "/.nox/", "/.hypothesis/", "/.cache/", "/.coverage", "/dev/", "/proc/", "/tmp/", "/coverage"),
)


class DeedsSeen:
    """`feed` takes acts with the steps that they are, or may be, charged to; none for the agent's own."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}  # of files that were opened for writing or renamed to, by anybody
        self._passing: set[str] = set()  # directories of files that were written under a name not for good
        self._refused: dict[str, tuple[int, frozenset[str]]] = {}  # name -> record, and steps, of a refused opening
        self._modified: dict[str, int] = {}  # path -> record, by steps
        self._deleted: dict[str, int] = {}
        self._deleting: dict[str, tuple[str, ...]] = {}  # process -> paths
        self._work: list[int] = []  # records of openings for writing, but for what is beside the work
        self._programs: list[tuple[int, tuple[str, ...]]] = []
        self._calls: list[tuple[str, str]] = []  # step and arguments, as text
        self._text = 0
        self._begun: Connect | None = None  # the first that was begun, and the first that was tried
        self._tried: Connect | None = None
        self._blind = False  # something did not fit, or a call's arguments are not known

    def asked(self, step: str, arguments: Any) -> None:
        """A step begins, with the arguments of its call."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        self._text += len(text)
        if arguments is None or self._text > _MOST_TEXT:
            self._blind = True
        else:
            self._calls.append((step, text))

    def feed(self, event: ProcessEvent, steps: tuple[str, ...], program: str) -> None:
        match event:
            case Open(device_class=None) if event.flags & WRITING:
                self._opened(event, steps, program)
            case Change(errno=0, refused=False):
                self._put(self._names, posixpath.basename(event.path), event.n)
                if event.operation in ("unlink", "rmdir") and steps:
                    self._put(self._deleted, event.path, event.n)
            case Exec(errno=0, refused=False) if steps:
                self._ran(event)
            case Exit():
                paths = self._deleting.pop(event.process, ())
                for path in paths if exit_status(event.status) == 0 else ():
                    self._put(self._deleted, path, event.n)
            case Connect(operation="connect", family="inet" | "inet6") if steps and event.clause != "model":
                self._tried = self._tried or event
                self._begun = self._begun or (event if event.begun else None)

    def not_written(self, path: str) -> tuple[int, ...] | None:
        """When no file of this name was written, the records that show why not; None when it was, or may have been.

        A rename leaves no record in normal sight: it may have been written under another name, by a call that names it,
        or by a tool that first writes beside it.
        """
        directory, name = posixpath.split(path)
        if self._blind or name in self._names:
            return None
        if any(not directory or f"{place}/".endswith(f"/{directory}/") for place in self._passing):
            return None
        named_by = {step for step, text in self._calls if name in text}
        n, refused_in = self._refused.get(name, (0, frozenset()))
        if not named_by <= refused_in:
            return None
        return (n,) if n else ()

    def wrote_between(self, first: int, last: int) -> bool:
        """Whether a file of the work was opened for writing after one record and before another."""
        place = bisect_right(self._work, first)
        return len(self._work) >= _MOST or (place < len(self._work) and self._work[place] < last)

    def connected(self, before: int) -> Connect | None:
        """The first connect of a step to another machine that came before; rather one that was begun."""
        for found in (self._begun, self._tried):
            if found is not None and found.n < before:
                return found
        return None

    def did(self, verb: str, subject: str, workspace: str, before: int) -> int:
        """The record of a step's doing this, or 0."""
        if verb == "run":
            words = subject.split()[:_MOST_WORDS]
            found = (n for n, ran in self._programs if words and _begins(ran, words) and _NOT_REALLY.isdisjoint(ran))
            return next((n for n in found if n < before), 0)
        path = posixpath.normpath(posixpath.join(workspace, subject))
        n = (self._modified if verb == "modify" else self._deleted).get(path, 0)
        return n if n < before else 0

    def _opened(self, event: Open, steps: tuple[str, ...], program: str) -> None:
        directory, name = posixpath.split(event.path)
        if event.errno or event.refused:
            if len(self._refused) < _MOST:
                n, before = self._refused.get(name, (event.n, frozenset()))
                self._refused[name] = (n, before | frozenset(steps))
            return
        self._put(self._names, name, event.n)
        if not any(place in event.path for place in _BESIDE):
            if len(self._work) < _MOST:
                self._work.append(event.n)
            if not _NAMED_FOR_GOOD.fullmatch(name):
                self._passing.add(directory)
                self._blind = self._blind or len(self._passing) > _MOST
        if steps and event.flags & _CHANGING and program != "git":  # which puts back what was there
            self._put(self._modified, event.path, event.n)

    def _ran(self, event: Exec) -> None:
        if len(self._programs) < _MOST:
            words = tuple(word[:_LONGEST_WORD] for word in event.arguments[:_MOST_WORDS])
            self._programs.append((event.n, words))
        if posixpath.basename(event.image) in _DELETERS:
            named = [word for word in event.arguments[1:64] if not word.startswith("-")]
            paths = (posixpath.normpath(posixpath.join(event.directory, word)) for word in named)
            self._deleting[event.process] = tuple(paths)

    def _put(self, where: dict[str, int], name: str, n: int) -> None:
        if len(where) < _MOST:
            where.setdefault(name, n)
        else:
            self._blind = True


def _begins(ran: tuple[str, ...], words: list[str]) -> bool:
    """Whether a program was run with just these words at its beginning."""
    return [posixpath.basename(ran[0]) if ran else "", *ran[1 : len(words)]] == [
        posixpath.basename(words[0]),
        *words[1:],
    ]
