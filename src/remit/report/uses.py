"""Gathers from the evidence of one session what it used and reached for, each with its programs and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remit.attribution.steps import Attributor
from remit.detectors.secret_places import secret_at
from remit.engine.decode import decode
from remit.errors import EvidenceError
from remit.events import Call, Change, Connect, Event, Exec, Flow, Open, ProcessEvent
from remit.evidence.reader import read_records
from remit.uses import Session, Use

_WRITING = 0o3 | 0o100 | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC
_FEW = 4  # programs and steps that are named for each use
SECOND = 1_000_000_000

Key = tuple[str, str, int, bool]


@dataclass(slots=True)
class _Gathered:
    count: int = 0
    programs: dict[str, None] = field(default_factory=dict)
    steps: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Totals:
    alive: int = 0
    most: int = 0
    cpu_ended: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    last: int = 0

    def take(self, record: dict[str, Any]) -> None:
        kind, self.last = record["kind"], record["time"]
        if kind == "fork":
            self.alive += 1
            self.most = max(self.most, self.alive)
        elif kind == "exit":
            self.alive -= 1
            self.cpu_ended += float(record.get("cpu") or 0)
        elif kind == "compute":
            self.cpu = max(self.cpu, float(record.get("cpu") or 0))
            self.memory = max(self.memory, int(record.get("memory") or 0))


def gather_uses(directory: Path | str) -> Session:
    """Everything one session used; raises EvidenceError when the evidence does not begin with a session's header."""
    records = read_records(directory)
    header = next(records, None)
    if header is None or header["kind"] != "session":
        raise EvidenceError(
            f"evidence does not begin with a session's header: {directory}", hint=f"remit verify {directory}"
        )
    scope: dict[str, Any] = header.get("scope") or {}
    secrets = tuple((scope.get("files") or {}).get("secrets") or ())
    sockets = tuple((scope.get("network") or {}).get("unix") or ())
    attributor, totals = Attributor(), _Totals(last=header["time"])
    gathered: dict[Key, _Gathered] = {}
    programs: dict[str, None] = {}
    findings: dict[str, None] = {}
    for record in records:
        totals.take(record)
        if record["kind"] == "finding":
            findings[record["finding"]["behaviour"]] = None
        event = decode(record)
        attribution = attributor.observe(event) if event is not None else None
        if not isinstance(event, ProcessEvent):
            continue
        if isinstance(event, Exec) and not event.errno and not event.refused:
            programs[event.image] = None
        for key in _uses_of(event, bool(record.get("new")), sockets):
            entry = gathered.setdefault(key, _Gathered())
            entry.count += 1
            process = attributor.lineage.get(event.process)
            if process is not None and len(entry.programs) < _FEW:
                entry.programs[process.image.rpartition("/")[2]] = None
            if attribution is not None and attribution.step and len(entry.steps) < _FEW:
                entry.steps[attribution.step] = None
    return Session(
        session=str(header.get("session")),
        task=str(header.get("task")),
        purpose=str(header.get("purpose") or ""),
        workspace=str(header.get("workspace")),
        home=str(header.get("home") or "/nonexistent"),
        temporary_directory=str(header.get("temporary_directory") or f"/tmp/remit-{header.get('session')}"),
        observed=bool(header.get("observe")),
        scope=scope,
        uses=tuple(_use(key, entry, secrets) for key, entry in sorted(gathered.items())),
        programs=tuple(sorted(programs)),
        processes=totals.most,
        cpu=max(totals.cpu, totals.cpu_ended),
        memory=totals.memory,
        wall=(totals.last - header["time"]) / SECOND,
        findings=tuple(findings),
    )


def _use(key: Key, entry: _Gathered, secrets: tuple[str, ...]) -> Use:
    kind, subject, port, refused = key
    secret = kind in ("read", "write", "change", "execute") and (
        secret_at(subject) is not None or any(_is_inside(subject, place) for place in secrets)
    )
    return Use(kind, subject, port, refused, secret, entry.count, tuple(entry.programs), tuple(entry.steps))


def _uses_of(event: Event, new: bool, sockets: tuple[str, ...]) -> Iterator[Key]:
    match event:
        case Exec():
            if event.refused or not event.errno:
                yield "execute", event.image, 0, event.refused
                if event.uncovered and event.uncovered != event.image:
                    yield "execute", event.uncovered, 0, False
        case Open(outsider=True):
            yield "call", f"open {event.path}", 0, True
        case Open(device_class="gpu"):
            if not event.absent:
                yield "gpu", event.path, 0, event.refused
        case Open():
            if not event.flags & _WRITING:
                yield "read", event.path, 0, event.refused
            elif new:
                yield "change", _directory(event.path), 0, event.refused
            else:
                yield "write", event.path, 0, event.refused
        case Change(operation="truncate" | "chmod" | "chown" | "utime" | "setxattr"):
            yield "write", event.path, 0, event.refused
        case Change():
            yield "change", _directory(event.path), 0, event.refused
            if event.source:
                kind, place = (
                    ("change", _directory(event.source)) if event.operation == "rename" else ("read", event.source)
                )
                yield kind, place, 0, event.refused
        case Connect(clause="model" | "claims"):
            return  # the gateway's port, the claims socket: the scope says `model` and `claims` for them
        case Connect(family="inet" | "inet6"):
            yield event.operation, event.address, event.port, event.refused
        case Connect(family="unix", operation="connect"):
            # Its own sockets need no grant.
            if event.refused or event.observed or event.address in sockets:
                yield "unix", event.address, 0, event.refused
        case Connect(family="unix", operation="bind", observed=True):
            yield "change", _directory(event.address), 0, False
        case Flow(refused=True):
            yield "call", f"{event.operation} of a {event.family} socket", 0, True
        case Call(refused=True):
            yield "call", event.operation, 0, True


def _directory(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _is_inside(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree.rstrip("/") + "/")
