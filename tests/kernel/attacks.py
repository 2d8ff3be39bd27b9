"""What the kernel tests share besides fixtures: attempts inside a session, outsiders, and what /proc says."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remit import Session
from remit.evidence.reader import Follower, read_records
from remit.evidence.record import decode_record
from remit.kernel.syscalls import NUMBERS

PROGRAMS = Path(__file__).parent / "programs"
_ROUND = 10_000  # tries
SECRET = "correct-horse-battery-staple"


def number(name: str) -> int:
    """The number of a system call on x86-64."""
    found = NUMBERS[name][0]
    assert found is not None
    return found


@dataclass(frozen=True)
class Attempt:
    """What an attack program said, and what the evidence says of it."""

    errno: int
    result: Any
    records: list[dict[str, Any]]
    status: int
    errors: str

    def refusals(self, kind: str, **members: Any) -> list[dict[str, Any]]:
        """Records of refused acts of this kind that have these members."""
        return [
            record
            for record in self.records
            if record["kind"] == kind and record["refused"] and all(record.get(k) == v for k, v in members.items())
        ]


class Inside:
    """One session: `do` runs an act of an attack program inside and waits for its end."""

    def __init__(self, session: Session, workspace: Path) -> None:
        self.session = session
        self.workspace = workspace
        self._steps = 0
        self._follower: Follower | None = None

    def do(self, program: str, *words: object, env: dict[str, str] | None = None) -> Attempt:
        command = [sys.executable, "-B", f"{self.workspace}/{program}", *map(str, words)]
        return self.run(command, env=env)

    def run(self, command: list[str], env: dict[str, str] | None = None, timeout: float = 110) -> Attempt:
        self._skip()
        self._steps += 1
        with self.session.step(f"call_{self._steps}", tool="attack"):
            done = self.session.run(command, capture_output=True, text=True, env=env, timeout=timeout)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        said = json.loads(lines[-1]) if lines else {}
        errno = said.get("errno", -1) if isinstance(said.get("errno"), int) else -1
        return Attempt(errno, said.get("result"), self.new_records(), done.returncode, done.stderr)

    def race(self, command: list[str], tries: int) -> Attempt:
        """Run a race with the number of its tries as its last word, in rounds; their counts are added up.

        Each round is a program of its own, for one that is refused more than 25 000 times on end freezes the session.
        """
        rounds = [
            self.run([*command, str(min(_ROUND, tries - done))], timeout=60 + tries / 50)
            for done in range(0, tries, _ROUND)
        ]
        assert all(attempt.result for attempt in rounds), [(attempt.errno, attempt.errors) for attempt in rounds]
        worst = next((attempt for attempt in rounds if attempt.status or attempt.errors), rounds[0])
        total = dict(rounds[0].result)
        for attempt in rounds[1:]:
            for name, found in attempt.result.items():
                total[name] = total[name] + found if isinstance(found, int) else sorted({*total[name], *found})
        records = [record for attempt in rounds for record in attempt.records]
        return Attempt(worst.errno, total, records, worst.status, worst.errors)

    def new_records(self) -> list[dict[str, Any]]:
        """What was recorded since the last look: to read all of it again would cost each round more."""
        if self._follower is None:
            self._follower = Follower(self.session.evidence)
        return [decode_record(line) for line in self._follower.lines()]

    def _skip(self) -> None:
        if self._follower is None:
            self._follower = Follower(self.session.evidence)
        for _ in self._follower.lines():
            pass

    def records(self) -> list[dict[str, Any]]:
        return list(read_records(self.session.evidence))

    def header(self) -> dict[str, Any]:
        return self.records()[0]


Open = Callable[..., Inside]


def new_workspace(factory: pytest.TempPathFactory) -> Path:
    workspace = factory.mktemp("workspace")
    shutil.copytree(PROGRAMS, workspace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return workspace


class Listener:
    """An outsider that listens and never answers; `reached` says whether anybody ever got through to it."""

    def __init__(self, family: int, address: Any, *, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> None:
        self.socket = socket.socket(family, kind, protocol)
        self.socket.bind(address)
        if kind != socket.SOCK_DGRAM:
            self.socket.listen(64)
        self.socket.setblocking(False)
        self.kind = kind
        self.port = self.socket.getsockname()[1] if family in (socket.AF_INET, socket.AF_INET6) else 0

    def reached(self) -> bool:
        try:
            if self.kind == socket.SOCK_DGRAM:
                self.socket.recv(64)
            else:
                self.socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True


def read_status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a table."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def is_running(pid: int) -> bool:
    return read_status(pid)["State"][0] in "RSDI"
