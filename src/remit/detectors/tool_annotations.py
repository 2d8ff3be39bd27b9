"""say-do-mismatch: an MCP tool does what its annotations say that it does not.

What it recognises
    In a call of a tool that says `readOnlyHint: true`, a file opened for writing, or a name made, removed or changed;
    in one that says `destructiveHint: false`, a file of before this session emptied, or a name removed; in one that
    says `openWorldHint: false`, a connection or a datagram to a public address. A refused attempt counts. It is high
    where the act is proven to be the call's, else medium, and low where a file was opened for reading and writing and
    nobody saw which.

Why it matters
    Clients let a tool that only reads run unasked. The annotations are the server's own words, and nobody else checks
    them.

How it tells the benign twin apart
    Scratch is free: $TMPDIR with the session's home in it, shared memory, /proc, bytecode and the caches of known
    tools, lock files, git's index.lock, databases opened for reading and writing. A server that said nothing promised
    nothing. With several calls under way there is a finding only if the tools of all of them promised the same.

Blind spots
    In normal sight no name that is made, removed or renamed, and no truncate(2), is seen; so a file that is written
    as scratch and renamed over another one is seen in full sight only. What is written through a descriptor that was
    opened before the call. What the server does after it has answered, in no step. A write over the network, and a
    host of the private network. Files that only look like scratch. A server that does another call's work while one
    runs is charged as that one, as `likely`.

References
    ATT&CK T1036 Masquerading; ATLAS AML.T0053 AI Agent Tool Invocation; OWASP Agentic ASI02 Tool Misuse and
    Exploitation.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.detectors.context import Context, is_inside, is_local
from remit.events import Change, Connect, Event, Flow, Open, ProcessEvent, Session, Step, Tool
from remit.findings import Attribution, Sighting, printable

TECHNIQUES = ("T1036", "AML.T0053", "ASI02")
WRITING, READ_WRITE = 0o3, 0o2  # O_ACCMODE, O_RDWR
EMPTIES, APPENDS = 0o1000, 0o2000  # O_TRUNC, O_APPEND
REMOVES = frozenset({"unlink", "rmdir", "rename", "truncate"})
READS_ONLY, ONLY_ADDS, STAYS_INSIDE = "readOnlyHint: true", "destructiveHint: false", "openWorldHint: false"

_CACHES = ("/.pytest_cache/", "/.mypy_cache/", "/.ruff_cache/", "/.cache/", "/.hypothesis/", "/node_modules/.cache/")
_SCRATCH_ENDS = ("/.git/index.lock", "/.lock", "-journal", "-wal", "-shm")
_DATABASES = (".db", ".sqlite", ".sqlite3", ".db3")
_EVERYWHERE = ("/proc/", "/dev/")
_MOST_FILES = 4096  # remembered as the session's own

Deed = tuple[str, str, str]  # the promise that it breaks, what was done, the severity at most


class ToolAnnotations:
    behaviour = "say-do-mismatch"
    wants: frozenset[type] = frozenset({Tool, Step, Open, Change, Connect, Flow})

    def __init__(self, session: Session) -> None:
        self._session = session
        self._promises: dict[str, tuple[frozenset[str], int]] = {}  # tool -> what it says, and where that is recorded
        self._steps: dict[str, tuple[str, frozenset[str], int]] = {}
        self._made: set[str] = set()  # files that were not there before the session

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        match event:
            case Tool():
                self._promises[event.tool] = _promises(event.annotations), event.n
            case Step():
                if event.mark == "begin" and event.tool in self._promises:
                    self._steps[event.step] = (event.tool, *self._promises[event.tool])
            case Open() | Change() | Connect() | Flow():
                if self._promises:
                    yield from self._compare(event, context)

    def _compare(self, event: Open | Change | Connect | Flow, context: Context) -> Iterator[Sighting]:
        deeds = list(self._deeds(event, context))
        if not deeds:
            return
        charged = context.charged(event.process)
        steps = _steps(charged)
        told = [self._steps[step] for step in steps if step in self._steps]
        if not told or len(told) < len(steps):
            return
        tools = " or ".join(dict.fromkeys(tool for tool, _, _ in told))
        for promise, deed, most in deeds:
            if not all(promise in promises for _, promises, _ in told):
                continue
            succeeded = not event.refused and event.errno in (0, 115)
            severity = most if most == "low" else "high" if charged.attribution == "proven" and succeeded else most
            text = f"{tools} says {promise}, and {context.name(event)} {deed}" + ("" if succeeded else "; refused")
            events = (*(n for _, _, n in told), event.n)
            state = "succeeded" if succeeded else "attempted"
            key = f"annotations {promise}"
            shown = printable(text, 400)
            yield Sighting(key, event.process, state, severity, TECHNIQUES, shown, event.clause, events)

    def _deeds(self, event: ProcessEvent, context: Context) -> Iterator[Deed]:
        match event:
            case Open() if event.flags & WRITING and not self._is_scratch(event.path) and _happened(event):
                yield from self._opened(event)
            case Change() if not (self._is_scratch(event.path) and self._is_scratch(event.source or event.path)):
                yield READS_ONLY, f"did {event.operation} {event.path}", "medium"
                gone = event.source if event.operation == "rename" else event.path
                if event.operation in REMOVES and gone not in self._made and not self._is_scratch(gone):
                    yield ONLY_ADDS, f"did {event.operation} {event.path}", "medium"
            case Connect() if event.operation == "connect" and (event.begun or event.refused) and _outside(event):
                yield STAYS_INSIDE, f"connected to {event.address} port {event.port}", "medium"
            case Flow() if event.operation == "send" and not context.own_service(event.address, event.port):
                if _outside(event):
                    yield STAYS_INSIDE, f"sent to {event.address} port {event.port}", "medium"

    def _opened(self, event: Open) -> Iterator[Deed]:
        empties = bool(event.flags & EMPTIES)
        own = event.path in self._made
        if event.new and len(self._made) < _MOST_FILES:
            self._made.add(event.path)
        if event.flags & WRITING == READ_WRITE and not event.new and not empties and not event.flags & APPENDS:
            if not event.path.endswith(_DATABASES):
                yield READS_ONLY, f"opened {event.path} for reading and writing", "low"
            return
        yield READS_ONLY, f"made {event.path}" if event.new else f"opened {event.path} for writing", "medium"
        if empties and not event.new and not own:
            yield ONLY_ADDS, f"emptied {event.path}", "medium"

    def _is_scratch(self, path: str) -> bool:
        temporary = self._session.temporary_directory if self._session else ""
        if temporary and f"{path}/".startswith(f"{temporary}/"):
            return True
        if path.startswith(_EVERYWHERE) or path.endswith(_SCRATCH_ENDS):
            return True
        folder, _, name = path.rpartition("/")
        bytecode = name == "__pycache__" or (folder.endswith("/__pycache__") and ".pyc" in name)
        return bytecode or any(cache in f"{path}/" for cache in _CACHES)


def _promises(annotations: dict[str, bool]) -> frozenset[str]:
    """What is ruled out. destructiveHint and idempotentHint mean something only of a tool that does not only read."""
    found = set()
    if annotations.get("readOnlyHint") is True:
        found.add(READS_ONLY)
    elif annotations.get("destructiveHint") is False:
        found.add(ONLY_ADDS)
    if annotations.get("openWorldHint") is False:
        found.add(STAYS_INSIDE)
    return frozenset(found)


def _steps(charged: Attribution) -> tuple[str, ...]:
    if charged.attribution not in ("proven", "likely"):
        return ()
    return charged.candidates or ((charged.step,) if charged.step else ())


def _happened(event: Open) -> bool:
    """What failed for reasons of the kernel's own (EISDIR, ENOENT, ETXTBSY) changed nothing."""
    return event.refused or not event.errno


def _outside(event: Connect | Flow) -> bool:
    return event.family in ("inet", "inet6") and not is_local(event.address) and not is_inside(event.address)
