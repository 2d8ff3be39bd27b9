"""A hint is what a program's name and arguments say; it never makes a finding without an effect.

A child of a hinted process keeps the hint when it runs another program, because tunnels and miners hand the connecting
to helpers. Shells give none: what a shell's text starts is seen when it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from remit.attribution.lineage import ProcessTable
from remit.events import Exec, Exit, Fork, ProcessEvent
from remit.plain import Data

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "ash", "env", "sudo", "timeout", "nohup"})
INTERPRETERS = ("python", "pypy", "perl", "ruby", "node", "nodejs", "php", "lua", "deno", "bun")
# These carry foreign text and addresses in their arguments, and their own connections are what the scope granted.
CARRIERS = frozenset({"git", "curl", "wget", "pip", "pip3", "npm", "uv", "grep", "rg", "sed", "awk", "find", "cat"})


class Hint(Data):
    """What was said, and the record that said it. `inherited` from a process further up."""

    text: str
    n: int
    inherited: bool = False


class Hints:
    """The hints of all processes, from their execs and forks. `read` turns image and arguments into a hint."""

    def __init__(self, read: Callable[[str, tuple[str, ...]], str | None]) -> None:
        self._read = read
        self._table: ProcessTable[Hint] = ProcessTable()

    def feed(self, event: ProcessEvent) -> Hint | None:
        """Learn from a fork, exec or exit; returns the hint of an exec that was refused, which leaves no process."""
        match event:
            case Fork(parent=str(parent)):
                inherited = self._table.get(parent)
                if inherited:
                    self._table.put(event.process, inherited._replace(inherited=True))
            case Exec():
                return self._ran(event)
            case Exit():
                self._table.exited(event.process)
        return None

    def of(self, process: str) -> Hint | None:
        return self._table.get(process)

    def _ran(self, event: Exec) -> Hint | None:
        text = self._read(event.image, event.arguments)
        if event.errno or event.refused:
            return Hint(text, event.n) if text and event.refused else None
        if text:
            self._table.put(event.process, Hint(text, event.n))
        else:
            old = self._table.get(event.process)
            if old and not old.inherited:
                self._table.forget(event.process)  # it said so as another program, which is gone
        return None


def program_names(image: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The names a program goes by: its file, what it calls itself, and the script an interpreter runs."""
    names = [basename(image)]
    if arguments:
        names.append(basename(arguments[0]))
    if is_interpreter(names[0]):
        names += [basename(word) for word in arguments[1:3] if word and not word.startswith("-")]
    return tuple(dict.fromkeys(name for name in names if name))


def inline_code(image: str, arguments: tuple[str, ...]) -> str:
    """The program text given on an interpreter's command line, or nothing."""
    if not is_interpreter(basename(image)):
        return ""
    for flag, text in pairwise(arguments):
        if flag in ("-c", "-e", "-r", "--eval", "-p", "--print") or (flag.startswith("-") and flag.endswith("c")):
            return text
    return ""


def is_carrier(image: str, arguments: tuple[str, ...]) -> bool:
    """Whether the arguments are somebody else's text: `git commit -m`, `curl URL`, `python -m pip install NAME`."""
    if is_interpreter(basename(image)):
        if arguments[1:2] == ("-m",):
            return arguments[2:3] in (("pip",), ("uv",), ("pytest",))
        return any(basename(word) in CARRIERS for word in arguments[1:3] if not word.startswith("-"))
    # A miner copied to ./curl is not curl: only what lies in a system directory is believed by its name.
    return basename(image) in CARRIERS and image.startswith(("/usr/", "/bin/", "/opt/"))


def is_shell(image: str) -> bool:
    return basename(image) in SHELLS


def is_interpreter(name: str) -> bool:
    return name.rstrip("0123456789.").removesuffix("-") in INTERPRETERS


def basename(path: str) -> str:
    return path.rpartition("/")[2]
