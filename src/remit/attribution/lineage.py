"""The process tree of a session, from its records alone; a process is PID and start time, so PID reuse is harmless.

A process keeps what it needs of its ancestors as a short text chain and not as references: a program that forks, exits
and forks again without end must not make the tree grow.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from remit.attribution.content import is_system_shell, shell_line
from remit.events import Connect, Exec, Exit, Fork
from remit.plain import Data

REMEMBERED_EXITS = 4096  # a child may be recorded after its parent went; older ones cannot matter
LONGEST_CHAIN = 16
LONGEST_HISTORY = 120
_INTERPRETERS = ("python", "pypy", "perl", "ruby", "node", "php", "bash", "sh", "dash")

T = TypeVar("T")


class Charge(Data):
    """What a process got at birth: the step, or the steps, that its acts are charged to."""

    attribution: str  # proven | likely | unknown
    step: str | None
    candidates: tuple[str, ...]
    reason: str
    bounded: bool = True  # False: the true step may be none of the candidates


class Entry(Data):
    """How a process lineage came into the session: what the supervisor started, for which step, asked by whom."""

    process: str
    step: str | None
    source: str | None  # run | sdk | exec, None when not recorded
    first: bool


class Process:
    """One process: a forked child has its parent's program until it runs another."""

    __slots__ = (
        "arguments", "before", "born_at_step", "chain", "charge", "claimed", "entry", "hears", "id", "image", "kept",
        "listens", "open_calls", "parent", "ran_since_birth", "shared", "shell_calls", "unbroken",
    )  # fmt: skip

    def __init__(self, id: str, parent: str | None, charge: Charge, born_at_step: int) -> None:
        self.id = id
        self.parent = parent
        self.charge = charge
        self.born_at_step = born_at_step  # index of the earliest step that was in force, or the next one to begin
        self.image = ""
        self.arguments: tuple[str, ...] = ()
        self.before = ""  # the names of the programs that it ran before this one
        self.chain: tuple[str, ...] = ()  # names of the ancestors, outermost first
        self.entry: Entry | None = None
        self.unbroken = True  # every parent up to the entry was read while it lived
        self.ran_since_birth = False
        self.hears = False  # a shared shell, or a child of one: later steps may speak to it
        self.shared = False  # a shared shell itself
        self.open_calls: tuple[str, ...] = ()  # the steps whose tool calls its first program may be what they ask for
        self.shell_calls: tuple[str, ...] = ()  # those that a shell which it is a fork of may have been told to run
        # For a shell, and its forks until they run a program: who started it, and the first step it can hear of.
        self.kept: tuple[str, int] | None = None
        self.claimed: tuple[str, ...] = ()  # the steps that were claimed from inside when it was born
        self.listens = ""  # an address other than loopback that it, or an ancestor, listens on

    @property
    def name(self) -> str:
        """The program for people: its file's name, and the script when it is an interpreter that was given one."""
        name = self.image.rpartition("/")[2] or "?"
        script = self.arguments[1] if len(self.arguments) > 1 else ""
        interpreted = name.startswith(_INTERPRETERS) and script and not script.startswith("-")
        return f"{name} {script.rpartition('/')[2][:60]}" if interpreted else name

    @property
    def label(self) -> str:
        """How it shows in a chain: all it ran, and its PID."""
        return f"{self.before}{self.name}[{self.id.partition(':')[0]}]"


class ProcessTable(Generic[T]):
    """Something kept for each process, forgotten some time after the process exited."""

    def __init__(self) -> None:
        self._items: dict[str, T] = {}
        self._exited: deque[str] = deque()

    def get(self, process: str) -> T | None:
        return self._items.get(process)

    def put(self, process: str, item: T) -> None:
        self._items[process] = item

    def forget(self, process: str) -> None:
        self._items.pop(process, None)

    def exited(self, process: str) -> None:
        self._exited.append(process)
        if len(self._exited) > REMEMBERED_EXITS:
            self._items.pop(self._exited.popleft(), None)


class Lineage:
    """All processes of the session that may still act, and how the first of each line came in."""

    def __init__(self) -> None:
        self.strangers = 0  # processes that an operator put into the session without a step
        self._table: ProcessTable[Process] = ProcessTable()
        self._entries = 0

    def get(self, process: str) -> Process | None:
        return self._table.get(process)

    def add(self, fork: Fork, charge: Charge, born_at_step: int) -> Process:
        """Enter a new process; `charge` was decided by the rules in `remit.attribution.steps`."""
        process = Process(fork.process, fork.parent, charge, born_at_step)
        parent = self.get(fork.parent) if fork.parent else None
        if fork.via == "spawn":
            process.entry = Entry(fork.process, fork.step, fork.source, first=self._entries == 0)
            self._entries += 1
            self.strangers += fork.step is None and fork.source == "exec"
        elif parent:
            _inherit(process, parent)
        else:
            self._guess_entry(process, fork.candidates)
        self._table.put(process.id, process)
        return process

    def unseen(self, process_id: str, charge: Charge, born_at_step: int) -> Process:
        """Enter a process that acts although its birth was not recorded."""
        process = Process(process_id, None, charge, born_at_step)
        process.unbroken = False
        self._table.put(process_id, process)
        return process

    def ran(self, event: Exec) -> None:
        process = self.get(event.process)
        if process and not event.errno and not event.refused:
            if process.image and process.ran_since_birth:
                process.before = f"{process.before}{process.name} then "[-LONGEST_HISTORY:]
            own = process.kept is None or process.ran_since_birth
            # One that was started with a text of its own was told that, and is told nothing more.
            shell = own and is_system_shell(event.image) and shell_line(event.arguments) is None
            process.kept = (process.parent, process.born_at_step) if shell and process.parent else None
            process.ran_since_birth = True
            process.image, process.arguments = event.image, event.arguments

    def exited(self, event: Exit) -> None:
        self._table.exited(event.process)

    def listened(self, event: Connect) -> None:
        """Note that somebody outside could speak to this process and, through it, to its children."""
        process = self.get(event.process)
        if not (process and event.operation == "listen" and event.begun and event.family in ("inet", "inet6")):
            return
        if not (event.address.startswith("127.") or event.address == "::1"):
            process.listens = f"{event.address}:{event.port}"

    def _guess_entry(self, process: Process, candidates: tuple[str, ...]) -> None:
        process.unbroken = False
        possible = [found for candidate in candidates if (found := self.get(candidate))]
        entries = {found.entry for found in possible}
        if possible and len(possible) == len(candidates) and len(entries) == 1:
            process.entry = possible[0].entry
            process.chain = ("?",)


def _inherit(process: Process, parent: Process) -> None:
    chain = (*parent.chain, parent.label)
    if len(chain) > LONGEST_CHAIN:
        chain = (*chain[:3], "...", *chain[-(LONGEST_CHAIN - 4) :])
    process.chain = chain
    process.image, process.arguments = parent.image, parent.arguments
    process.entry, process.unbroken = parent.entry, parent.unbroken
    process.hears, process.listens, process.kept = parent.hears, parent.listens, parent.kept
