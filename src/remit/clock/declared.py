"""What a tool call says that it will do, read out of its arguments by grammar: programs, paths and hosts.

It is data for whoever compares it with what the kernel saw. The call is the model's word, and is not trusted: what is
read here is bounded, and never more than a hint or one side of a comparison.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Any
from urllib.parse import urlsplit

from remit.clock.python_code import read_python
from remit.clock.shell import Asked, Text, read_shell, without_options
from remit.tool_arguments import commands_in

_MOST = 64  # of each kind
_MOST_WORDS = 256  # of a program; a longer one is not named, for half of it would be another
_LONGEST_WORD = 1024
_LONGEST = 64 << 10  # of all together, as JSON
_MOST_COMMANDS = 16
_DEEPEST = 4  # of programs that are given programs
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh"})
_RUNNERS = frozenset({"env", "timeout", "nice", "nohup", "setsid", "stdbuf", "sudo", "xargs", "time", "doas"})
_WRITERS = frozenset({"tee", "touch", "mkdir", "rm", "rmdir", "unlink", "truncate"})  # all that they are given
_LAST = frozenset({"cp", "mv", "ln", "install"})  # the last that they are given
_READERS = frozenset({"cat", "head", "tail", "less", "more", "source", "."})
_DIALLERS = frozenset({"ssh", "scp", "sftp", "rsync", "nc", "ncat", "telnet", "ping", "curl", "wget"})
_PATH_MEMBERS = ("file_path", "path", "notebook_path", "filename", "file")
_CONTENT_MEMBERS = ("content", "contents", "new_string", "new_str", "file_text", "new_source", "edits", "insert_text")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}\.[A-Za-z]{2,63}|\d{1,3}(\.\d{1,3}){3}|localhost")
_DEVICE = re.compile(r"/dev/(?:tcp|udp)/([^/\s]{1,253})/(\d{1,5})")  # of bash's own
_GIT = re.compile(r"[\w.-]{1,64}@([A-Za-z0-9.-]{1,253}):")
_PORT = re.compile(r"\d{1,5}")


def declared(arguments: Any) -> dict[str, Any]:
    """`programs` and those they are to run in turn (`nested`), as argument vectors, None for words that are not known.

    `again`: indices of programs in loops. `anything`: what is run may be something else too. `writes`, `reads`:
    paths as they are named there. `hosts`: `host` or `host:port`. Members that would be empty are left out, but for
    `programs` where there is a command: it names none then.
    """
    found = _Found()
    commands = list(islice(commands_in(arguments), _MOST_COMMANDS + 1))
    if len(commands) > _MOST_COMMANDS:
        return {"programs": [], "anything": True}
    for command in commands:
        found.commands = True
        if isinstance(command, list):
            found.program(Asked(tuple(command)), _DEEPEST)
        else:
            found.text(read_shell(command), _DEEPEST)
    found.members(arguments, _DEEPEST)
    return found.as_members()


class _Found:
    def __init__(self) -> None:
        self._programs: list[Asked] = []
        self._nested: list[tuple[str | None, ...]] = []
        self._writes: list[str] = []
        self._reads: list[str] = []
        self._hosts: list[str] = []
        self._anything = False
        self.commands = False

    def text(self, text: Text, deepest: int, *, nested: bool = False) -> None:
        for paths, kept in ((text.writes, self._writes), (text.reads, self._reads)):
            for path in paths:
                if device := _DEVICE.fullmatch(path):
                    self._hosts.append(f"{device[1]}:{device[2]}")
                else:
                    kept.append(path)
        if not nested:
            self._anything = self._anything or text.anything
        for asked in text.programs:
            self.program(asked, deepest, nested=nested)

    def program(self, asked: Asked, deepest: int, *, nested: bool = False) -> None:
        if nested:
            self._nested.append(asked.words)
        else:
            self._programs.append(asked)
        first = asked.words[0] if asked.words else None
        if first is None or not deepest:
            return
        name = first.rpartition("/")[2]
        rest = [word for word in asked.words[1:] if word is not None and not word.startswith("-")]
        if name in _WRITERS:
            self._writes += rest
        elif name in _LAST:
            self._writes += rest[-1:]
        elif name in _READERS:
            self._reads += rest
        elif name == "sed" and any(word and word.startswith("-i") for word in asked.words):
            self._writes += rest[1:]
        elif name == "dd":
            self._writes += [word[3:] for word in rest if word.startswith("of=")]
        self._hosts += _hosts(name, rest)
        self._inner(name, asked, deepest - 1)

    def _inner(self, name: str, asked: Asked, deepest: int) -> None:
        """What a program is given to run."""
        words = asked.words
        code = next((after for before, after in pairwise(words) if before and _is_c(before)), None)
        if name in _SHELLS and (line := code or asked.fed):
            self.text(read_shell(line, deepest=deepest), deepest, nested=True)
        elif name.startswith("python") and (line := code or asked.fed):
            self._python(line, deepest)
        elif name in _RUNNERS:
            inner = without_options(words[1:])
            if name == "timeout":
                inner = inner[1:]
            if inner:
                self.program(Asked(tuple(inner), asked.again, asked.fed), deepest, nested=True)

    def _python(self, text: str, deepest: int) -> None:
        code = read_python(text)
        self._writes += code.writes
        self._reads += code.reads
        self._hosts += _hosts("", code.words)
        for words in code.programs:
            self.program(Asked(words), deepest, nested=True)
        for line in code.lines:
            self.text(read_shell(line, deepest=deepest), deepest, nested=True)

    def members(self, arguments: Any, deepest: int) -> None:
        """Paths and addresses that tools without a command take."""
        if isinstance(arguments, list) and deepest:
            for member in arguments[:_MOST_COMMANDS]:
                self.members(member, deepest - 1)
        if not isinstance(arguments, dict):
            return
        writes = any(name in arguments for name in _CONTENT_MEMBERS)
        for name, member in arguments.items():
            if isinstance(member, str):
                if name in _PATH_MEMBERS:
                    (self._writes if writes else self._reads).append(member)
                elif name in ("url", "uri", "host"):
                    self._hosts += _hosts("", [member]) or ([member] if _NAME.fullmatch(member) else [])
            elif deepest:
                self.members(member, deepest - 1)

    def as_members(self) -> dict[str, Any]:
        kept = [asked for asked in self._programs[:_MOST] if len(asked.words) <= _MOST_WORDS]
        members: dict[str, Any] = {
            "programs": [list(map(_cut, asked.words)) for asked in kept],
            "again": [index for index, asked in enumerate(kept) if asked.again],
            "nested": [list(map(_cut, words[:_MOST_WORDS])) for words in self._nested[:_MOST]],
            "writes": _short(self._writes),
            "reads": _short(self._reads),
            "hosts": _short(self._hosts),
            "anything": self._anything or len(self._programs) > len(kept),
        }
        found = {name: member for name, member in members.items() if member or (name == "programs" and self.commands)}
        return found if len(json.dumps(found)) <= _LONGEST else {"anything": True}


def _is_c(word: str) -> bool:
    return word.startswith("-") and not word.startswith("--") and word.endswith("c")


def _cut(word: str | None) -> str | None:
    """A word that is too long is not known: half of it would be another word."""
    return None if word is None or len(word) > _LONGEST_WORD else word


def _short(words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word and len(word) <= _LONGEST_WORD][:_MOST]


def _hosts(program: str, words: Iterable[str]) -> Iterator[str]:
    words = [word for word in words if len(word) <= _LONGEST_WORD]
    for place, word in enumerate(words):
        if "://" in word:
            yield from _of_url(word)
        elif program == "git" and (found := _GIT.match(word)):
            yield found[1]
        elif program in _DIALLERS:
            host = word.rpartition("@")[2].partition(":" if program in ("scp", "rsync") else "/")[0]
            host, _, port = host.partition(":")
            if _NAME.fullmatch(host) and ("@" in word or "/" not in word or program in ("curl", "wget")):
                after = words[place + 1] if place + 1 < len(words) else ""
                given = port or (after if program in ("nc", "ncat", "telnet") else "")
                yield f"{host}:{given}" if _PORT.fullmatch(given) else host


def _of_url(word: str) -> Iterator[str]:
    for found in islice(re.finditer(r"[a-z][a-z0-9+.-]{0,20}://[^\s'\"<>]{1,500}", word), 8):
        try:
            parts = urlsplit(found[0])
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if host:
            yield f"{host}:{port}" if port else host
