"""Every path a plan grants is absolute, resolved, exists, and never is a home directory or anything around one."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from remit.errors import ScopeError
from remit.kernel.paths import is_inside
from remit.plain import Data
from remit.plan import PathGrant
from remit.scope.document import Path, Source
from remit.scope.model import Scope
from remit.scope.parse import clause
from remit.scope.preset import Preset
from remit.scope.values import ValueProblem
from remit.scope.variables import TEMPORARY, Places, expand_paths

GPU_PATTERNS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
# Writing there changes other processes or the kernel, and Landlock cannot name the parts that would be harmless.
_NEVER_WRITTEN = ("/proc", "/sys")
# Other programs' and other sessions' temporary directories lie there.
_SHARED = ("/tmp", "/var/tmp", "/dev/shm")
_KINDS = (("write", ("read", "write")), ("read", ("read",)), ("execute", ("execute", "read")))


class FileGrants(Data):
    """What the agent may reach, what is secret or protected, and what was granted for reading but is not there."""

    grants: tuple[PathGrant, ...]
    secrets: tuple[str, ...]
    protected: tuple[str, ...]
    protected_links: tuple[str, ...]  # links on the way to what is protected
    missing: tuple[str, ...]


def file_grants(
    scope: Scope, source: Source, presets: Iterable[Preset], places: Places, *, below: Path = ()
) -> FileGrants:
    """The scope's and the presets' grants; raises ScopeError for what no wall can express.

    `below`: where in the source the scope's keys stand, when they are a phase's.
    """
    _check_workspace(places)
    secrets = tuple(_resolved(p) for p in _listed(scope.files.secrets, ("files", "secrets"), source, places))
    named = _listed(scope.files.protect, ("files", "protect"), source, places)
    protected = tuple(_resolved(path) for path in named)
    links = tuple(dict.fromkeys(link for path in named for link in _links(path)))
    grants: list[PathGrant] = []
    missing: list[str] = []
    for kind, access in _KINDS:
        for index, text in enumerate(getattr(scope.files, kind)):
            location: Path = (*below, "files", kind, index)
            for path in _expanded(text, location, source, places):
                if text in ("$PATH", "${PATH}") and _too_wide(_resolved(path), places):
                    continue
                if _is_missing(path, kind, location, source):
                    missing.append(path)
                    continue
                grants.append(_own_grant(path, access, location, source, places, scope, secrets))
    if scope.devices.gpu == "all":
        grants += [PathGrant(path, ("read", "write"), clause((*below, "devices", "gpu"))) for path in gpu_nodes()]
    if scope.nested_sandbox in ("userns", "mount"):
        # Identity maps of a new user namespace are files in /proc of processes that do not exist yet.
        grants.append(PathGrant("/proc", ("read", "write"), "nested-sandbox"))
    extra = [grant for preset in presets for grant in _preset_grants(preset, places, secrets)]
    grants += _without_repeats(extra, grants)
    return FileGrants(tuple(grants), secrets, protected, links, tuple(missing))


def preset_grants(preset: Preset, places: Places) -> tuple[PathGrant, ...]:
    """What a preset grants on this host by itself."""
    return tuple(_preset_grants(preset, places, ()))


def gpu_nodes() -> list[str]:
    """The device nodes of the class gpu that exist."""
    return sorted(os.path.realpath(path) for pattern in GPU_PATTERNS for path in glob.glob(pattern))


def _check_workspace(places: Places) -> None:
    workspace = places.workspace
    if not os.path.isdir(workspace):
        raise ScopeError(f"the workspace is not a directory: {workspace}", hint=f"mkdir -p {workspace}")
    if workspace in _SHARED:
        raise ScopeError(
            f"the workspace must be a directory of its own, not one where others keep theirs: {workspace}",
            hint=f"mkdir {workspace}/work && cd {workspace}/work, then run again",
        )
    if _too_wide(workspace, places):
        raise ScopeError(
            f"the workspace must be a directory of its own, not a home or what holds one: {workspace}",
            hint="mkdir -p ~/work && cd ~/work, then run again",
        )


def _too_wide(path: str, places: Places) -> bool:
    return path == "/" or is_inside(os.path.realpath(places.home), path)


def _expanded(text: str, location: Path, source: Source, places: Places) -> tuple[str, ...]:
    try:
        return expand_paths(text, places)
    except ValueProblem as problem:
        raise source.error(location, f"{clause(location)}: {problem.message}", hint=problem.hint) from problem


def _listed(texts: list[str], location: Path, source: Source, places: Places) -> list[str]:
    return [p for i, text in enumerate(texts) for p in _expanded(text, (*location, i), source, places)]


def _resolved(path: str) -> str:
    return path if is_inside(path, TEMPORARY) else os.path.realpath(path)


def _links(path: str) -> list[str]:
    """The links that lead from `path` to what it means, each where it really lies."""
    found: list[str] = []
    place = ""
    for name in [] if is_inside(path, TEMPORARY) else path.strip("/").split("/"):
        place = f"{os.path.realpath(place or '/').rstrip('/')}/{name}"
        if os.path.islink(place):
            found.append(place)
    return found


def _is_missing(path: str, kind: str, location: Path, source: Source) -> bool:
    if is_inside(path, TEMPORARY) or os.path.exists(path):
        return False
    if kind == "write":
        raise source.error(
            location,
            f"{clause(location)}: a wall cannot be built around what does not exist: {path}",
            hint=f"mkdir -p {path}",
        )
    return True


def _own_grant(
    path: str,
    access: tuple[str, ...],
    location: Path,
    source: Source,
    places: Places,
    scope: Scope,
    secrets: tuple[str, ...],
) -> PathGrant:
    """A grant the scope's author wrote: anything odd about it is an error, not a guess."""
    real, where = _resolved(path), clause(location)
    if _too_wide(real, places):
        raise source.error(
            location,
            f"{where}: never granted whole: {real}",
            hint="name the directories beneath it that the task needs",
        )
    if is_inside(path, places.workspace) and not is_inside(real, places.workspace):
        # Whoever may write in the workspace may have put the link there.
        raise source.error(
            location, f"{where}: a link leads out of the workspace: {path} -> {real}", hint=f"write {real} itself"
        )
    if "write" in access and any(is_inside(real, tree) for tree in _NEVER_WRITTEN):
        raise source.error(location, f"{where}: cannot be granted for writing: {real}", hint="grant it in files.read")
    if scope.devices.gpu == "none":
        node = next((n for n in gpu_nodes() if is_inside(n, real) or is_inside(real, n)), None)
        if node is not None or real == "/dev":
            raise source.error(
                location,
                f"{where}: includes devices that devices.gpu withholds: {real}",
                hint="name single device nodes, or write devices: {gpu: all}",
            )
    secret = next((s for s in secrets if is_inside(real, s)), None)
    if secret is not None:
        raise source.error(
            location, f"{where}: lies inside a secret: {real}", hint=f"take {secret} out of files.secrets, or this out"
        )
    if is_inside(real, places.workspace) or is_inside(real, TEMPORARY):
        access = tuple(sorted({*access, "execute"}))  # real work runs what it builds
    return PathGrant(real, tuple(sorted(access)), where)


def _preset_grants(preset: Preset, places: Places, secrets: tuple[str, ...]) -> list[PathGrant]:
    """What of a preset exists here; what would be too wide, or is secret, is left out."""
    found: dict[tuple[str, tuple[str, ...]], PathGrant] = {}
    for texts, access in (
        (preset.execute, ("execute", "read")),
        (preset.read, ("read",)),
        (preset.write, ("read", "write")),
    ):
        for text in texts:
            for path in _preset_paths(text, places):
                real = os.path.realpath(path)
                # A home beneath /usr or /lib would be odd, but without them nothing runs at all.
                too_wide = real == "/" or (_too_wide(real, places) and not is_inside(real, "/usr"))
                if os.path.exists(real) and not too_wide and not any(is_inside(real, s) for s in secrets):
                    found.setdefault((real, access), PathGrant(real, access, preset.clause))
    return list(found.values())


def _preset_paths(text: str, places: Places) -> list[str]:
    if "*" in text:
        return sorted(glob.glob(text))
    return list(expand_paths(text, places))


def _without_repeats(extra: list[PathGrant], own: list[PathGrant]) -> list[PathGrant]:
    """Preset grants that no other grant covers already: each rule costs time at every start."""
    kept: list[PathGrant] = []
    for index, grant in enumerate(extra):
        covered = set[str]()
        for other in (*own, *kept):
            if is_inside(grant.path, other.path):
                covered.update(other.access)
        for other in extra[index + 1 :]:
            if other.path != grant.path and is_inside(grant.path, other.path):
                covered.update(other.access)
        if not covered.issuperset(grant.access):
            kept.append(grant)
    return kept
