"""What the scenarios share: a place of a test's own to run remit in, conditions to wait for, and evidence to read."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remit.attribution.steps import Attributor
from remit.engine.decode import decode
from remit.engine.replay import replay
from remit.evidence.chain import verify
from remit.evidence.reader import read_records
from remit.findings import Attribution
from remit.kernel import landlock
from remit.report.summary import build_report

REMIT = (sys.executable, "-c", "from remit.cli import entry; entry()")
# The interpreter's own directory first: an agent finds the same python, pip and pytest as the test does.
SEARCH_PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
PATIENCE = 30.0
# The gaps of an older kernel, for scenarios of walls that it has (docs/decisions/0017).
_SINCE = {"network-unwalled": 4, "device-ioctl-unwalled": 5, "abstract-sockets-unwalled": 6}
LACKING = [name for name, abi in _SINCE.items() if landlock.abi() < abi]

Record = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A workspace, a home and a state folder of one test's own."""

    root: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def sessions(self) -> Path:
        return self.root / "state" / "remit" / "sessions"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": SEARCH_PATH,
            "HOME": str(self.root / "home"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "LANG": "C.UTF-8",
        }

    def remit(self, *words: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run one remit command to its end."""
        return subprocess.run(**self._call(words, {"timeout": 60, **options}), check=False)

    def start(self, *words: str | os.PathLike[str], **options: Any) -> subprocess.Popen[Any]:
        """Start one remit command; its standard input is empty unless given."""
        return subprocess.Popen(**self._call(words, options))

    def _call(self, words: Sequence[str | os.PathLike[str]], options: dict[str, Any]) -> dict[str, Any]:
        defaults: dict[str, Any] = {"cwd": self.workspace, "env": self.environment, "text": True}
        if "input" not in options:
            defaults["stdin"] = subprocess.DEVNULL
        if options.pop("capture", True):
            defaults |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return {"args": [*REMIT, *map(os.fspath, words)], **defaults, **options}

    def evidence(self) -> Path:
        """The evidence of the only session that this stage has seen."""
        (directory,) = self.sessions.iterdir()
        return directory

    def session_name(self) -> str:
        return self.evidence().name


def new_stage(root: Path) -> Stage:
    """A stage in an empty directory."""
    for directory in ("workspace", "home", "state", "cache"):
        (root / directory).mkdir(parents=True)
    return Stage(root)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`; fails when it stays false for too long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.002)
    return value


def records(evidence: Path, *kinds: str) -> list[Record]:
    return [record for record in read_records(evidence) if not kinds or record["kind"] in kinds]


def recorded(evidence: Path, kind: str, **members: Any) -> list[Record]:
    """The records of one kind with these members, also while the session still runs."""
    try:
        found = records(evidence, kind)
    except OSError:
        return []
    return [record for record in found if all(record.get(name) == value for name, value in members.items())]


def objections(evidence: Path) -> list[str]:
    """Everything in the evidence that an honest task must not meet, in words."""
    report = build_report(evidence)
    said = [
        f"denied {denial['operation']} {denial['object']} by {denial['process']}: {denial['clause']}"
        for denial in report["denials"]
    ]
    said += [f"finding {finding['behaviour']}: {finding['summary']}" for finding in report["findings"]]
    said += [f"lost {name}: {count}" for name, count in report["lost"].items()]
    # A refusal that the report would fold away is still one.
    said += [f"refused {record}" for record in read_records(evidence) if record.get("refused") and not said]
    return said


def charged(evidence: Path) -> list[tuple[Record, Attribution]]:
    """Every record that a process caused, with the step that the engine charges it to."""
    attributor = Attributor()
    found = []
    for record in read_records(evidence):
        event = decode(record)
        attribution = attributor.observe(event) if event is not None else None
        if attribution is not None:
            found.append((record, attribution))
    return found


def is_sound(evidence: Path, *, closed: bool = True) -> None:
    """The chain is whole, the findings are recomputed to the byte, and the session was closed if it should be."""
    verification = verify(evidence)
    assert verification.whole, verification.damage
    assert verification.closed or not closed, "the session was not closed"
    again = replay(evidence)
    assert again.identical, f"replay differs at {again.difference}: {again.recorded} {again.recomputed}"


def start_time(pid: int) -> int | None:
    """The start time of a process that has not ended, or None; a zombie has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def marked(marker: str) -> set[int]:
    """Living processes whose arguments or environment contain the marker, other than our own."""
    found = set()
    for pid in processes():
        for file in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                if marker.encode() in Path(f"/proc/{pid}/{file}").read_bytes() and start_time(pid) is not None:
                    found.add(pid)
    return found - {os.getpid()}


def survivors(evidence: Path, *, marker: str = "") -> list[str]:
    """Whoever of a killed session's agent is still there: those recorded, and those marked.

    Every process of a session has the session's private temporary directory in its environment unless it cleared it.
    """
    found = set()
    for record in records(evidence, "session", "fork"):
        if record["kind"] == "session":
            found |= marked(f"/remit-{record['session']}")
        else:
            pid, _, start = record["process"].partition(":")
            if start_time(int(pid)) == int(start):
                found.add(int(pid))
    if marker:
        found |= marked(marker)
    return [f"{pid} {command_name(pid)}" for pid in sorted(found)]


def our_own(evidence: Path) -> list[str]:
    """The processes of remit's own that still serve this session."""
    (header,) = records(evidence, "session")
    pids = [header[name] for name in ("supervisor", "zygote", "deputy")]
    return [f"{pid} {command_name(pid)}" for pid in pids if command_name(pid).startswith("remit-") and start_time(pid)]


def nobody_left(evidence: Path, *, marker: str = "") -> None:
    """Remit's own go last, and killed processes vanish a moment after the signal; none may stay."""
    wait_for(lambda: not survivors(evidence, marker=marker) and not our_own(evidence), "the end of every process", 10.0)


def follow_cpu(pids: Callable[[], set[int]]) -> Callable[[], bool]:
    """Tells, when called later, whether any of these processes has used time since."""
    before = cpu_ticks(pids())
    return lambda: cpu_ticks(pids()) != before


def parents() -> dict[int, int]:
    table = {}
    for pid in processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            table[pid] = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return table


def below(ancestor: int) -> set[int]:
    """All descendants of a process."""
    table = parents()
    found: set[int] = set()
    waiting = {ancestor}
    while waiting:
        waiting = {pid for pid, parent in table.items() if parent in waiting} - found
        found |= waiting
    return found


def named_below(ancestor: int, name: str) -> int | None:
    """The descendant of this name, as ps shows it: remit's own are remit-supervisor (cut to 15 letters) and so on."""
    return next((pid for pid in below(ancestor) if command_name(pid) == name[:15]), None)


def cpu_ticks(pids: set[int]) -> dict[int, int]:
    """CPU time used so far by each process that is there."""
    used = {}
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            used[pid] = int(fields[11]) + int(fields[12])
    return used


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """Ends the process when the test is over, whatever happened."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def differences(bare: Mapping[str, Any], guarded: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (bare[name], guarded[name]) for name in bare if bare[name] != guarded[name]}


def without(text: str, *patterns: str) -> str:
    """The text without what differs from one run to the next for reasons of its own, such as a duration."""
    for pattern in patterns:
        text = re.sub(pattern, "", text)
    return text
