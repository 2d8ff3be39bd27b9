"""Says in plain English what a plan lets an agent do, where each grant comes from, and which wall holds the rest."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator

from remit.errors import one_line
from remit.plan import AddressGrant, Phase, Plan
from remit.scope.presets import PRESETS
from remit.scope.values import duration_in_words, size_in_words

_WIDTH = 100
_WHEN_FULL = {
    "end": "the session ends  (evidence.when-full)",
    "mark": "it goes on; what is lost is counted, and its steps are unknown  (evidence.when-full)",
}

IN_A_VIEW = "files outside the grants are not there, and what may only be read lies on read-only mounts"
WALLS = {
    "files": "files outside the grants cannot be opened, run, renamed or removed (Landlock)",
    "masks": "secrets and protected paths inside granted trees are covered by mounts of the session's own",
    "metadata": "mode, owner, times and attributes change only where the content may be written too",
    "tcp": "no TCP connect or bind of the agent's own (Landlock)",
    "device-ioctl": "no ioctl on devices outside the grants (Landlock)",
    "signals": "no signal leaves the session (Landlock)",
    "abstract-sockets": "no abstract socket of an outsider can be reached (Landlock)",
    "addresses": "connect, bind and listen are checked against the grants, and done on the agent's behalf",
    "unix-sockets": "path-named sockets of outsiders are checked against the grants",
    "images": "what really runs is read at exec; memory files and loaders given a program are refused",
    "socket-kinds": "only TCP, unix stream, netlink and, where granted, UDP sockets can be made (seccomp)",
    "system-calls": "dangerous system calls stop, and foreign call tables are killed (seccomp)",
    "privileges": "no program gains privileges (no_new_privs)",
    "environment": "only granted environment variables are passed on",
    "processes": "no more processes at once than the scope says",
    "tasks": "processes and threads together, 64 for each process that the scope grants (pids.max)",
    "cpu": "CPU time of the whole tree",
    "memory": "memory of the whole tree",
    "wall-time": "time by the clock",
    "open-files": "open files of each process (rlimit)",
    "file-size": "size of each file (rlimit)",
}


def explain_plan(plan: Plan, *, name: str, host: str) -> str:
    """The plan as text for a person."""
    lines = [f"{name}: {plan.task}"]
    if plan.purpose:
        lines.append(plan.purpose)
    if plan.observe:
        lines.append("OBSERVED ONLY: what these grants do not cover is recorded and let through.")
    lines.append("")
    lines += _section("The agent may change, and read", _files(plan, "write"))
    lines += _section("It may run, and read", _files(plan, "execute"))
    lines += _section("It may only read", _files(plan, "read"))
    lines += _section("It never reads", (f"{path}  (files.secrets)" for path in plan.secrets))
    lines += _section("Inside what it may reach, it is kept from", _masks(plan))
    lines += _section("It may connect to", _addresses(plan.connect), nothing="nothing  (network.connect)")
    lines += _section("It may send to over UDP", _addresses(plan.udp), nothing="nobody  (network.udp)")
    lines += _section("It may listen on", _addresses(plan.listen), nothing="nothing  (network.listen)")
    lines += _section("It may use these sockets of others", (f"{path}  (network.unix)" for path in plan.unix))
    for phase in plan.phases:
        lines += _section(f"In the phase {phase.name} besides", _phase(phase), nothing="nothing")
    lines += _section("It has a model", _model(plan))
    lines += _section("It may claim steps of its own", [f"{' '.join(plan.claims)}  (claims)"] if plan.claims else [])
    lines += _section("It may use the GPUs", ["yes  (devices.gpu)" if plan.gpu else "no  (devices.gpu)"])
    lines += _section("It has these budgets", _limits(plan), nothing="none")
    lines += _section("Its environment", _environment(plan))
    lines += _section(
        "After a finding",
        [*(f"{behaviour}: {verdict}  (respond)" for behaviour, verdict in plan.respond.items()), "any other: record"],
    )
    lines += _section("When there is no space left for evidence", [_WHEN_FULL[plan.when_full]])
    lines += _section("Presets", _presets(plan))
    lines += _section(f"Walls on this host ({host})", _walls(plan))
    lines += _section("Gaps on this host", _gaps(plan), nothing="none")
    return "\n".join(lines).rstrip() + "\n"


def _phase(phase: Phase) -> Iterator[str]:
    for grant in phase.files:
        if phase.gpu and grant.clause.endswith("devices.gpu"):
            continue
        what = "change" if "write" in grant.access else "run" if "execute" in grant.access else "only read"
        yield f"{what} {grant.path}  ({grant.clause})"
    for do, grants in (("connect to", phase.connect), ("send over UDP to", phase.udp), ("listen on", phase.listen)):
        yield from (f"{do} {address}" for address in _addresses(grants))
    yield from (f"use the socket {path}  (phases.{phase.name}.network.unix)" for path in phase.unix)
    if phase.gpu:
        yield f"use the GPUs  (phases.{phase.name}.devices.gpu)"
    yield f"what is left of it when it ends: {'is ended' if phase.survivors == 'end' else 'runs on'}"


def _section(title: str, lines: Iterable[str], *, nothing: str | None = None) -> Iterator[str]:
    found = list(lines) or ([] if nothing is None else [nothing])
    if found:
        yield f"{title}:"
        for line in found:
            yield from textwrap.wrap(
                one_line(line, 100_000),
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="      ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        yield ""


def _files(plan: Plan, kind: str) -> Iterator[str]:
    """Grants of the author one by one, those of a preset together: they are many, and known by its name."""
    together: dict[str, list[str]] = defaultdict(list)
    for grant in plan.files:
        strongest = "write" if "write" in grant.access else "execute" if "execute" in grant.access else "read"
        if strongest != kind:
            continue
        if grant.clause.startswith("use:"):
            together[grant.clause].append(grant.path)
        else:
            runs = ", and run" if kind == "write" and "execute" in grant.access else ""
            yield f"{grant.path}{runs}  ({grant.clause})"
    for clause, paths in together.items():
        yield f"{' '.join(paths)}  ({clause})"


def _masks(plan: Plan) -> Iterator[str]:
    for mask in plan.masks:
        if mask.kind == "secret":
            yield f"{mask.path}: hidden  (files.secrets)"
        elif mask.kind != "protected":
            yield f"{mask.path}: what others have there; it is the session's own"
        else:
            yield f"{mask.path}: read-only, and not to be made where it is missing  (files.protect)"


def _model(plan: Plan) -> Iterator[str]:
    if plan.model is not None:
        name = plan.model.credential.removeprefix("env:")
        whose = "the agent's own login" if name == "agent" else f"a credential that it never has, the caller's {name}"
        yield f"{plan.model.upstream} ({plan.model.api}), through a gateway that marks its steps, with {whose}  (model)"
        kept = {"full": "in full, without known secrets", "hashes": "as hashes", "none": "not at all"}
        yield f"what is said is recorded {kept[plan.model.transcript]}  (model.transcript)"


def _addresses(grants: Iterable[AddressGrant]) -> Iterator[str]:
    for grant in grants:
        ports = (
            f"{grant.first_port}" if grant.first_port == grant.last_port else f"{grant.first_port}-{grant.last_port}"
        )
        if grant.last_port == 0:
            ports = "0: bound to a free port, not listening"
        own = ", where this session listens" if grant.own else ""
        yield f"{grant.cidr} port {ports}{own}  ({grant.clause})"


def _limits(plan: Plan) -> Iterator[str]:
    limits = plan.limits
    if limits.processes is not None:
        yield f"{limits.processes} processes at once  (processes.at-most)"
    if limits.cpu is not None:
        yield f"{duration_in_words(limits.cpu)} of CPU time  (compute.cpu)"
    if limits.memory is not None:
        yield f"{size_in_words(limits.memory)} of memory  (compute.memory)"
    if limits.wall is not None:
        yield f"{duration_in_words(limits.wall)} by the clock  (compute.wall)"


def _environment(plan: Plan) -> Iterator[str]:
    if plan.environment.keep:
        yield "passed on, where set: " + " ".join(plan.environment.keep)
    for name, value in plan.environment.set.items():
        yield f"{name}={value}"


def _presets(plan: Plan) -> Iterator[str]:
    for versioned in plan.scope["use"]:
        yield f"{versioned}: {PRESETS[versioned.partition('@')[0]].summary}"


def _walls(plan: Plan) -> Iterator[str]:
    for wall in plan.walls:
        strength = wall.strength if wall.held else "not held"
        text = IN_A_VIEW if plan.view and wall.name == "files" else WALLS[wall.name]
        yield f"{strength:<10} {wall.name}: {text}"


def _gaps(plan: Plan) -> Iterator[str]:
    for gap in plan.gaps:
        if gap.kind == "sight":
            state = "cannot be seen"
        else:
            state = "accepted" if gap.accepted else f"NOT ACCEPTED, so run refuses; --accept-gap {gap.name}"
        hint = f"; to close it: {gap.hint}" if gap.hint else ""
        yield f"{gap.name} ({state}): {gap.reason}{hint}"
