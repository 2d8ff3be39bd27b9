"""A plan is scope x host, compiled: plain data, no side effects, and the same bytes for the same inputs.

The compile child writes it as JSON; the supervisor, which imports no third-party package, reads it back.
"""

from __future__ import annotations

import json
from typing import Any

from remit.plain import Data, plain

PLAN_VERSION = 6


class Wall(Data):
    """One wall in force. strength: kernel, supervisor or polled."""

    name: str
    strength: str
    held: bool = True


class Gap(Data):
    """Something the scope asks that cannot be enforced (kind wall) or seen (kind sight) here."""

    name: str
    kind: str
    accepted: bool
    reason: str
    hint: str = ""


class PathGrant(Data):
    """One tree or file the agent may reach. access is a subset of read, write, execute; clause cites the scope."""

    path: str
    access: tuple[str, ...]
    clause: str


class Mask(Data):
    """A path inside a grant that is taken back from it. kind: `secret` or `protected`; or one that is the session's
    own instead of everybody's: `memory`, `terminals`.

    `root` is the widest writable tree around it, within which no parent may be moved away; "" when there is none.
    """

    path: str
    kind: str
    root: str


class AddressGrant(Data):
    """Addresses the agent may connect to, send to or listen on: a network in CIDR form and an inclusive port range."""

    cidr: str
    first_port: int
    last_port: int
    clause: str
    own: bool = False  # only where the session itself listens


class Limits(Data):
    """Budgets and limits; None means no limit. Times in seconds, sizes in bytes, tree-wide unless said otherwise."""

    processes: int | None = None
    cpu: float | None = None
    memory: int | None = None
    wall: float | None = None
    open_files: int | None = None  # per process, RLIMIT_NOFILE
    file_size: int | None = None  # per file, RLIMIT_FSIZE


class CgroupLimits(Data):
    """What the kernel holds the session's own cgroups to; None means no limit there."""

    memory: int | None = None  # bytes
    tasks: int | None = None  # processes and threads together


class Environment(Data):
    """The agent's environment: names copied from the caller, and values set. All else is left out."""

    keep: tuple[str, ...]
    set: dict[str, str]


class Model(Data):
    """The model behind the gateway. credential: `env:NAME` of the caller, or `agent`; transcript: what of the words is
    recorded."""

    api: str  # anthropic | openai
    upstream: str
    credential: str
    transcript: str = "full"  # full | hashes | none


class Phase(Data):
    """What a phase grants besides the scope itself. survivors: `keep` or `end` what it leaves running."""

    name: str
    files: tuple[PathGrant, ...]
    connect: tuple[AddressGrant, ...]
    udp: tuple[AddressGrant, ...]
    listen: tuple[AddressGrant, ...]
    unix: tuple[str, ...]
    gpu: bool
    survivors: str


class Plan(Data):
    """Everything that apply and the supervisor need. Paths are absolute and resolved unless they end in a missing name.

    `temporary_directory` asks for a private directory for each session: every `$TMPDIR` in paths and environment stays
    literally `$TMPDIR` in a (cached) plan and is substituted at launch.
    """

    version: int
    task: str
    purpose: str
    workspace: str
    scope: dict[str, Any]  # the whole scope after presets and variables, for evidence and for citing clauses
    scope_digest: str  # sha256 of the canonical JSON of `scope`
    landlock_abi: int
    files: tuple[PathGrant, ...]
    secrets: tuple[str, ...]
    masks: tuple[Mask, ...]
    connect: tuple[AddressGrant, ...]
    udp: tuple[AddressGrant, ...]
    listen: tuple[AddressGrant, ...]
    unix: tuple[str, ...]  # path-named sockets of outsiders that may be connected to
    gpu: bool  # may device nodes of the class gpu be opened
    limits: Limits
    environment: Environment
    seccomp: str  # base64 of struct sock_filter[], compiled by libseccomp
    respond: dict[str, str]  # behaviour -> record | freeze | kill
    walls: tuple[Wall, ...]
    gaps: tuple[Gap, ...]
    when_full: str = "end"  # end | mark: what a full disk does to a session
    sight: str = "normal"  # normal | full: every open and change of a name is a question
    observe: bool = False  # what no grant covers is recorded and let through, where some scope could grant it
    outside: tuple[str, ...] = ()  # remit's own places, which no scope lets the agent change
    hidden: tuple[str, ...] = ()  # those that no scope lets it read
    model: Model | None = None
    claims: tuple[str, ...] = ()  # by which ways processes inside may claim steps: socket
    make_sockets: bool = False  # the supervisor makes the agent's sockets, for it cannot take them (pidfd_getfd)
    phases: tuple[Phase, ...] = ()
    cgroup: CgroupLimits | None = None  # the session has cgroups of its own
    view: bool = False  # files are walled by a file system of the session's own, put together from mounts


def by_phase(plan: Plan) -> dict[str | None, Plan]:
    """What processes may in each phase, and in none."""
    plans: dict[str | None, Plan] = {None: plan}
    plans.update((phase.name, _in_phases(plan, phase)) for phase in plan.phases)
    return plans


def _in_phases(plan: Plan, *phases: Phase) -> Plan:
    added = {
        name: sum((getattr(phase, name) for phase in phases), getattr(plan, name))
        for name in ("files", "connect", "udp", "listen", "unix")
    }
    return plan._replace(**added)


def widest(plan: Plan) -> Plan:
    """What any process of the session may at most."""
    return _in_phases(plan, *plan.phases) if plan.phases else plan


def plan_to_json(plan: Plan) -> bytes:
    """Canonical JSON: sorted keys, no spaces, ASCII."""
    return json.dumps(plain(plan), sort_keys=True, separators=(",", ":")).encode()


def plan_from_json(data: bytes) -> Plan:
    """The inverse of `plan_to_json`; raises ValueError on another version or a wrong shape."""
    raw: dict[str, Any] = json.loads(data)
    if raw.get("version") != PLAN_VERSION:
        raise ValueError(f"plan version is not {PLAN_VERSION}: {raw.get('version')}")
    try:
        _read_grants(raw)
        for phase in raw["phases"]:
            _read_grants(phase)
        raw["phases"] = tuple(Phase(**phase) for phase in raw["phases"])
        raw["masks"] = tuple(Mask(**m) for m in raw["masks"])
        raw["secrets"] = tuple(raw["secrets"])
        raw["outside"] = tuple(raw["outside"])
        raw["hidden"] = tuple(raw["hidden"])
        raw["limits"] = Limits(**raw["limits"])
        raw["environment"] = Environment(tuple(raw["environment"]["keep"]), raw["environment"]["set"])
        raw["claims"] = tuple(raw["claims"])
        raw["cgroup"] = None if raw["cgroup"] is None else CgroupLimits(**raw["cgroup"])
        raw["model"] = None if raw["model"] is None else Model(**raw["model"])
        raw["walls"] = tuple(Wall(**w) for w in raw["walls"])
        raw["gaps"] = tuple(Gap(**g) for g in raw["gaps"])
        return Plan(**raw)
    except (KeyError, TypeError) as problem:
        raise ValueError(f"plan has the wrong shape: {problem}") from problem


def _read_grants(raw: dict[str, Any]) -> None:
    raw["files"] = tuple(PathGrant(g["path"], tuple(g["access"]), g["clause"]) for g in raw["files"])
    for name in ("connect", "udp", "listen"):
        raw[name] = tuple(AddressGrant(**g) for g in raw[name])
    raw["unix"] = tuple(raw["unix"])
