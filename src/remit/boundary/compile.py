"""Scope x host -> plan: no side effects, the same plan for the same inputs, and what no wall can express is refused.

It looks at the file system only to resolve the paths that the scope names. Run as a module it is the compile child:
a request as JSON on stdin, a plan or an error as JSON on stdout; it alone imports third-party packages.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from remit.boundary import filters
from remit.boundary.grants import FileGrants, file_grants
from remit.boundary.host import Host, host_from_json
from remit.boundary.masks import NO_MASKS, find_masks
from remit.boundary.strength import cgroup_limits, find_gaps, find_walls, has_signal_scope, has_truncate_right
from remit.digest import sha256
from remit.errors import BoundaryError, RemitError, ScopeError
from remit.kernel import cgroup
from remit.kernel.paths import is_inside
from remit.plan import PLAN_VERSION, AddressGrant, CgroupLimits, Environment, Limits, Model, Phase, Plan, plan_to_json
from remit.scope.default import NAME as DEFAULT_NAME
from remit.scope.document import Path, Source
from remit.scope.model import Network, Scope
from remit.scope.parse import ParsedScope, clause, parse_scope
from remit.scope.preset import Preset
from remit.scope.presets import find_preset
from remit.scope.values import SELF, ValueProblem
from remit.scope.variables import Places, expand_paths, expand_text, find_places

# Below it Landlock knows nothing but files, and who handles those refuses every mount.
_ABI_WITHOUT_FILES = 4
EVERYWHERE = ("0.0.0.0/0", "::/0")
LOOPBACK = ("127.0.0.0/8", "::1/128")


def compile_scope(
    parsed: ParsedScope,
    host: Host,
    *,
    places: Places,
    outside: dict[str, str],
    hidden: dict[str, str] | None = None,
    accept_gaps: Iterable[str] = (),
    sight: str = filters.NORMAL,
    observe: bool = False,
) -> Plan:
    """The plan of a scope on a host.

    `outside` names our own directories, which no writable tree may touch, `hidden` those that no granted tree may.

    Observing needs full sight, and takes it. Raises ScopeError for what cannot be expressed and BoundaryError for a
    host that cannot run any plan.
    """
    scope, source = parsed.scope, parsed.source
    if not host.seccomp_notify:
        raise BoundaryError(
            f"this kernel or container has no seccomp user notification: {host.kernel}",
            hint="use Linux 5.0 or newer, and a container whose seccomp profile allows seccomp(2)",
        )
    _refuse_nested(scope, source, host, observe=observe)
    if scope.otherwise == "record" and not observe:
        raise source.error(
            ("otherwise",),
            "otherwise: only while observing: record",
            hint="remit run --observe, or write otherwise: deny",
        )
    sight = filters.FULL if observe else sight
    presets = [find_preset(name, places) for name in dict.fromkeys(scope.use)]
    files = file_grants(scope, source, presets, places)
    found = [_phase(scope, name, source, places) for name in scope.phases]
    phases = tuple(phase for phase, _ in found)
    every = [files, *(granted for _, granted in found)]
    for granted in every:
        _refuse_overlap(granted, source, outside, "write", "write into")
        _refuse_overlap(granted, source, hidden or {}, "read", "read")
    # While observing there is nothing to take back from grants.
    together = files._replace(
        grants=tuple(grant for granted in every for grant in granted.grants),
        missing=tuple(path for granted in every for path in granted.missing),
    )
    view = scope.nested_sandbox == "mount"
    masks = NO_MASKS if observe else find_masks(together, possible=host.mount_masks, view=view)
    limits = Limits(
        processes=scope.processes.at_most,
        cpu=scope.compute.cpu,
        memory=scope.compute.memory,
        wall=scope.compute.wall,
    )
    if scope.compute.gpu == 0 and (scope.devices.gpu == "all" or any(phase.gpu for phase in phases)):
        raise source.error(
            ("compute", "gpu"), "compute.gpu: devices.gpu grants what this withholds: 0", hint="leave one of them out"
        )
    held = cgroup_limits(host, limits, observe=observe)
    accepted = {*scope.accept_gaps, *accept_gaps, *(name for preset in presets for name in preset.accepts)}
    effective = _effective_scope(scope, source, presets, files, places)
    return Plan(
        version=PLAN_VERSION,
        task=scope.task,
        purpose=scope.purpose,
        workspace=places.workspace,
        scope=effective,
        scope_digest=sha256(_canonical(effective)),
        landlock_abi=host.landlock_abi,
        files=files.grants,
        secrets=files.secrets,
        masks=masks.covered,
        connect=_connect(scope.network, source),
        udp=_udp(scope.network, source),
        listen=_listen(scope.network),
        unix=_unix(scope.network, source, places),
        gpu=scope.devices.gpu == "all",
        limits=limits,
        environment=_environment(scope, source, presets, places),
        seccomp=filters.compile_filter(
            host.machine,
            filters.SIGHTS[sight],
            datagrams=bool(scope.network.udp or any(p.udp for p in phases)) and host.take_descriptors,
            make_sockets=not host.take_descriptors,
            signals=not has_signal_scope(host),
            truncate=not has_truncate_right(host),
        ),
        respond={str(behaviour): str(verdict) for behaviour, verdict in scope.respond.items()},
        walls=find_walls(host, limits, masks, observe=observe, view=view),
        gaps=find_gaps(host, together, masks, accepted, sight=sight, view=view),
        when_full=scope.evidence.when_full,
        sight=sight,
        observe=observe,
        outside=(*_places(outside), *(_withheld(host, held) if observe else ())),
        hidden=_places(hidden or {}),
        make_sockets=not host.take_descriptors,
        model=_model(scope, source),
        phases=phases,
        claims=tuple(dict.fromkeys(scope.claims)),
        cgroup=held,
        view=view,
    )


def _refuse_nested(scope: Scope, source: Source, host: Host, *, observe: bool) -> None:
    """What a sandbox inside cannot be had with."""

    def refuse(reason: str, hint: str) -> ScopeError:
        return source.error(("nested-sandbox",), f"nested-sandbox: {reason}: {scope.nested_sandbox}", hint=hint)

    if scope.nested_sandbox != "refuse" and host.uid == 0:
        # What root may write in /proc without a capability changes the whole machine.
        raise refuse("not for root", "run as a user of its own")
    if scope.nested_sandbox != "mount":
        return
    instead = "write nested-sandbox: refuse and switch the program's own sandbox off"
    if observe:
        raise refuse("not while observing", instead)
    if host.landlock_abi < _ABI_WITHOUT_FILES:
        raise refuse(f"Landlock ABI {host.landlock_abi} cannot let files be, this needs {_ABI_WITHOUT_FILES}", instead)
    if any(p.files.write or p.files.read or p.files.execute or p.devices.gpu == "all" for p in scope.phases.values()):
        raise refuse("a view is the same in every phase, and one has files of its own", "grant them in files")
    if scope.claims:
        raise refuse("the claims socket is not in a view", "leave claims out")


def _withheld(host: Host, held: CgroupLimits | None) -> list[str]:
    """What an observed agent may not write, beside our own places, for it would act on the machine or on us.

    Root's agent has no capability, but root owns the kernel's settings, and the score of the supervisor.
    """
    if host.uid == 0:
        return ["/proc", "/sys"]
    return [] if held is None else [cgroup.ROOT]


def main() -> int:
    """The compile child."""
    request: dict[str, Any] = json.load(sys.stdin)
    try:
        name = request["name"]
        parsed = parse_scope(base64.b64decode(request["scope"]), DEFAULT_NAME if name is None else name)
        plan = compile_scope(
            parsed,
            host_from_json(request["host"]),
            places=find_places(request["workspace"], request["environment"]),
            outside=request["outside"],
            hidden=request["hidden"],
            accept_gaps=request["accept_gaps"],
            sight=request["sight"],
            observe=request["observe"],
        )
    except RemitError as problem:
        json.dump(error_to_json(problem), sys.stdout)
        return problem.exit_status
    sys.stdout.write(plan_to_json(plan).decode())
    return 0


def error_to_json(problem: RemitError) -> dict[str, Any]:
    """What the parent needs to raise the same error."""
    error: dict[str, Any] = {"class": type(problem).__name__, "message": problem.message, "hint": problem.hint}
    if isinstance(problem, ScopeError):
        error.update(path=problem.path, line=problem.line, column=problem.column)
    return error


def _places(ours: dict[str, str]) -> tuple[str, ...]:
    return tuple(sorted({os.path.realpath(path) for path in ours.values()}))


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _refuse_overlap(files: FileGrants, source: Source, ours: dict[str, str], access: str, do: str) -> None:
    for grant in files.grants:
        for what, path in ours.items():
            own = os.path.realpath(path)
            if access in grant.access and (is_inside(own, grant.path) or is_inside(grant.path, own)):
                place = next((path for path in source.positions if clause(path) == grant.clause), ())
                raise source.error(
                    place,
                    f"{grant.clause}: the agent could {do} {what}: {grant.path} and {own}",
                    hint="grant a narrower tree, or move the workspace, or choose another directory for it",
                )


def _phase(scope: Scope, name: str, source: Source, places: Places) -> tuple[Phase, FileGrants]:
    """What a phase adds. Its paths are judged as the scope's own are."""
    wanted, below = scope.phases[name], ("phases", name)
    kinds = {"write": wanted.files.write, "read": wanted.files.read, "execute": wanted.files.execute}
    files = scope.files.model_copy(update=kinds)
    alone = scope.model_copy(update={"files": files, "devices": wanted.devices, "nested_sandbox": "refuse"})
    granted = file_grants(alone, source, (), places, below=below)
    network = wanted.network
    phase = Phase(
        name=name,
        files=granted.grants,
        connect=_connect(network, source, below),
        udp=_udp(network, source, below),
        listen=_listen(network, below),
        unix=_unix(network, source, places, below),
        gpu=wanted.devices.gpu == "all",
        survivors=wanted.survivors,
    )
    return phase, granted


def _connect(network: Network, source: Source, below: Path = ()) -> tuple[AddressGrant, ...]:
    grants = []
    for index, grant in enumerate(network.connect):
        place: Path = (*below, "network", "connect", index)
        if grant.port[0] == 0:
            raise source.error(
                (*place, "port"),
                f"{clause(place)}.port: nothing listens on port 0",
                hint="write 1-65535 for every port",
            )
        own = grant.cidr == SELF
        grants += [AddressGrant(cidr, *grant.port, clause(place), own) for cidr in (LOOPBACK if own else (grant.cidr,))]
    return tuple(grants)


def _udp(network: Network, source: Source, below: Path = ()) -> tuple[AddressGrant, ...]:
    grants = []
    for index, grant in enumerate(network.udp):
        place: Path = (*below, "network", "udp", index)
        if grant.cidr == SELF:
            raise source.error(
                (*place, "cidr"),
                f"{clause(place)}.cidr: nobody can say whose a UDP port is: self",
                hint="write an address, such as 127.0.0.1",
            )
        if grant.port[0] == 0:
            raise source.error(
                (*place, "port"),
                f"{clause(place)}.port: nobody answers on port 0",
                hint="write 1-65535 for every port",
            )
        grants.append(AddressGrant(grant.cidr, *grant.port, clause(place)))
    return tuple(grants)


def _listen(network: Network, below: Path = ()) -> tuple[AddressGrant, ...]:
    return tuple(
        AddressGrant(cidr, *grant.port, clause((*below, "network", "listen", index)))
        for index, grant in enumerate(network.listen)
        for cidr in _listening_networks(grant.cidr)
    )


def _listening_networks(cidr: str | None) -> tuple[str, ...]:
    if cidr == SELF:
        return LOOPBACK
    return EVERYWHERE if cidr is None else (cidr,)


def _model(scope: Scope, source: Source) -> Model | None:
    if scope.model is None:
        return None
    name = scope.model.credential.removeprefix("env:")
    if scope.model.credential != "agent" and (name in scope.environment.pass_ or name in scope.environment.set):
        raise source.error(
            ("model", "credential"),
            f"model.credential: the agent would have it too: {name}",
            hint=f"take {name} out of environment, or write credential: agent",
        )
    return Model(scope.model.api, scope.model.upstream, scope.model.credential, scope.model.transcript)


def _unix(network: Network, source: Source, places: Places, below: Path = ()) -> tuple[str, ...]:
    paths: list[str] = []
    for index, text in enumerate(network.unix):
        place: Path = (*below, "network", "unix", index)
        try:
            paths += expand_paths(text, places)
        except ValueProblem as problem:
            raise source.error(place, f"{clause(place)}: {problem.message}", hint=problem.hint) from problem
    return tuple(os.path.realpath(path) if path.startswith("/") else path for path in paths)


def _environment(scope: Scope, source: Source, presets: list[Preset], places: Places) -> Environment:
    wanted = list(scope.environment.pass_)
    keep = dict.fromkeys([name for preset in presets for name in preset.keep] + wanted)
    # The author's own line wins over a preset's: passing HOME on undoes the preset's HOME.
    values = {
        name: expand_text(value, places)
        for preset in presets
        for name, value in preset.set.items()
        if name not in wanted
    }
    for name, value in scope.environment.set.items():
        place: Path = ("environment", "set", name)
        try:
            values[name] = expand_text(value, places)
        except ValueProblem as problem:
            raise source.error(place, f"{clause(place)}: {problem.message}", hint=problem.hint) from problem
    return Environment(tuple(name for name in keep if name not in values), dict(sorted(values.items())))


def _effective_scope(
    scope: Scope, source: Source, presets: list[Preset], files: FileGrants, places: Places
) -> dict[str, Any]:
    """The scope as it is in force: variables replaced, presets written out."""
    effective: dict[str, Any] = scope.model_dump(by_alias=True, mode="json")
    effective["use"] = [f"{preset.name}@{preset.version}" for preset in presets]
    for kind in ("write", "read", "execute", "secrets", "protect"):
        effective["files"][kind] = [p for text in effective["files"][kind] for p in expand_paths(text, places)]
    effective["files"]["secrets"] = list(files.secrets)  # resolved, as paths in the evidence are
    effective["network"]["unix"] = list(_unix(scope.network, source, places))
    for name, phase in effective["phases"].items():
        for kind, texts in phase["files"].items():
            phase["files"][kind] = [p for text in texts for p in expand_paths(text, places)]
        phase["network"]["unix"] = list(_unix(scope.phases[name].network, source, places, ("phases", name)))
    effective["presets"] = {
        f"{preset.name}@{preset.version}": {
            "files": [[g.path, list(g.access)] for g in files.grants if g.clause == preset.clause],
            "environment": {
                "pass": list(preset.keep),
                "set": {name: expand_text(value, places) for name, value in preset.set.items()},
            },
            "accept-gaps": list(preset.accepts),
        }
        for preset in presets
    }
    return effective


if __name__ == "__main__":
    sys.exit(main())
