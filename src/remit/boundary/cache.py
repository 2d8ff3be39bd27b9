"""Gets a plan without importing third-party code: from the cache if nothing it rests on changed, else from a child.

The key covers every input of the compilation that is cheap to see; the paths that a plan grants are looked at again
before it is used. A cache that cannot be trusted or written is not used; then each run compiles.
"""

from __future__ import annotations

import binascii
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import remit
from remit import errors
from remit.boundary.host import Host, find_host, host_to_json
from remit.boundary.mask_mounts import can_mount
from remit.digest import sha256
from remit.evidence.places import mcp_place, notary_key_place, sessions_place
from remit.plan import Plan, plan_from_json, widest
from remit.scope.default import default_scope
from remit.scope.read import read_scope_file

# What a plan may depend on; the same names as in remit.scope.variables, which a test compares.
USED_VARIABLES = ("HOME", "USER", "LOGNAME", "PATH", "VIRTUAL_ENV", "PYENV_ROOT", "NVM_DIR")
_KEPT = 128  # plans
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from remit.boundary.compile import main; sys.exit(main())"
)
Place = str | os.PathLike[str]
MASKABLE = ("secret-inside-grant", "protected-inside-grant")


def load_plan(
    scope_path: Place | None,
    *,
    workspace: Place,
    environment: Mapping[str, str],
    evidence_root: Place | None = None,
    accept_gaps: Iterable[str] = (),
    sight: str = "normal",
    observe: bool = False,
    host: Host | None = None,
) -> Plan:
    """The plan of a scope file, or of the default scope, for this caller; evidence lies in the state folder by default.

    Raises ScopeError with its position, or BoundaryError. Wall gaps are left to the caller: they stand in the plan.
    """
    found = host or find_host()
    request = plan_request(
        scope_path,
        workspace=workspace,
        environment=environment,
        evidence_root=evidence_root or sessions_place(),
        accept_gaps=accept_gaps,
        sight=sight,
        observe=observe,
        host=found,
    )
    plan = _find_or_compile(request, environment)
    if host is None and (plan.view or any(gap.name in MASKABLE for gap in plan.gaps)):
        if can_mount():
            request["host"] = host_to_json(found._replace(mount_masks=True))
            plan = _find_or_compile(request, environment)
        elif plan.view:
            raise errors.BoundaryError(
                f"{scope_path}: nested-sandbox: no user namespace with mounts can be had here: mount",
                hint="write nested-sandbox: refuse and switch the program's own sandbox off",
            )
    return plan


def _find_or_compile(request: dict[str, Any], environment: Mapping[str, str]) -> Plan:
    file = f"{plans_root(environment)}/{_key(request)}.json"
    plan = _read(file)
    if plan is None:
        text = _compile(request)
        plan = plan_from_json(text)
        _write(file, text, plan)
    return plan


def plans_root(environment: Mapping[str, str]) -> str:
    """Where plans are kept: `$XDG_CACHE_HOME/remit/plans`."""
    cache = environment.get("XDG_CACHE_HOME", "")
    # A relative XDG path is invalid by its specification; following it would put plans into the workspace.
    base = os.path.normpath(cache) if cache.startswith("/") else f"{os.path.expanduser('~').rstrip('/')}/.cache"
    return f"{base.rstrip('/')}/remit/plans"


def plan_request(
    scope_path: Place | None,
    *,
    workspace: Place,
    environment: Mapping[str, str],
    evidence_root: Place,
    accept_gaps: Iterable[str],
    sight: str = "normal",
    observe: bool = False,
    host: Host,
) -> dict[str, Any]:
    """Everything that compilation depends on, as JSON can carry it."""
    outside = {
        "the evidence": str(evidence_root),
        "the plan cache": plans_root(environment),
        "what MCP servers' tools are known as": mcp_place(),
        "remit's own code": os.path.dirname(remit.__file__),
    }
    if sys.prefix not in ("/usr", "/usr/local"):
        # A virtual environment: who may write into it decides what remit runs next.
        outside["the environment that remit runs from"] = sys.prefix
    return {
        "scope": binascii.b2a_base64(scope_bytes(scope_path), newline=False).decode(),
        "name": None if scope_path is None else str(scope_path),
        "workspace": os.path.realpath(workspace),
        "environment": {name: environment[name] for name in USED_VARIABLES if name in environment},
        "outside": outside,
        "hidden": {"the notary's key": os.path.dirname(notary_key_place())},
        "accept_gaps": sorted(accept_gaps),
        "sight": sight,
        "observe": observe,
        "host": host_to_json(host),
    }


def scope_bytes(scope_path: Place | None) -> bytes:
    """The text of a scope file, or of the default scope; raises ScopeError when it cannot be read."""
    return default_scope() if scope_path is None else read_scope_file(str(scope_path))


def _key(request: dict[str, Any]) -> str:
    home = request["environment"].get("HOME", "")
    looked_at = [
        *request["environment"].get("PATH", "").split(":"),
        *(f"{home}/{name}" for name in (".gitconfig", ".config/git", ".config/git/config")),
        request["environment"].get("VIRTUAL_ENV", "") + "/pyvenv.cfg",
        "/etc",
    ]
    stamps = [(path, _stamp(path)) for path in looked_at]
    parts = [remit.__version__, sys.executable, _code_stamp(), request, stamps, _gpu_names()]
    return sha256(json.dumps(parts, sort_keys=True).encode())


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return [status.st_dev, status.st_ino, status.st_mtime_ns]


def _gpu_names() -> list[str]:
    """Device nodes that a driver makes when it is first used."""
    try:
        return sorted(name for name in os.listdir("/dev") if name.startswith(("nvidia", "dri", "kfd")))
    except OSError:
        return []


def _code_stamp() -> list[Any]:
    """Changes when our own code does, so that working on remit never meets a plan of yesterday."""
    root = os.path.dirname(remit.__file__)
    found = []
    for folder in ("scope", "boundary"):
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if entry.name.endswith((".py", ".yaml")):
                    status = entry.stat()
                    found.append([entry.name, status.st_size, status.st_mtime_ns])
    return sorted(found)


def _read(file: str) -> Plan | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as stream:
        if not _is_ours(os.fstat(descriptor), stat.S_IFREG):
            return None
        try:
            witness, _, text = stream.read().partition(b"\n")
            if json.loads(witness) != _witness(plan := plan_from_json(text)):
                return None
        except (ValueError, AttributeError, KeyError, TypeError, OSError):
            return None
    return plan


def _is_ours(status: os.stat_result, kind: int) -> bool:
    return stat.S_IFMT(status.st_mode) == kind and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _witness(plan: Plan) -> list[list[Any]]:
    """What the granted paths are: a link put in a path's place, or another file, must not inherit the grant."""
    found: list[list[Any]] = []
    for grant in widest(plan).files:
        if grant.path.startswith("/"):
            status = os.stat(grant.path)
            # Only the author's own grants can lie where an agent was able to write.
            moved = not grant.clause.startswith("use:") and os.path.realpath(grant.path) != grant.path
            found.append([grant.path, status.st_dev, status.st_ino, moved])
    # A secret that appears inside a granted tree is a gap, and a grant that appears is a grant.
    for path in sorted({*plan.secrets, *plan.scope["files"]["protect"], *plan.scope["files"]["read"]}):
        try:
            status = os.stat(path)
            # Another link to a file is another way to it, and no mount covers both.
            links = 0 if stat.S_ISDIR(status.st_mode) else status.st_nlink
            real = os.path.realpath(path)
            found.append([path, real, status.st_ino, status.st_uid, status.st_mode, links])
        except OSError:
            found.append([path])
    return found


def _compile(request: dict[str, Any]) -> bytes:
    import subprocess  # not needed when the plan is in the cache

    child = subprocess.run(
        # -S: no .pth file is read, and the child looks for modules where this process does, and nowhere else.
        [sys.executable, "-I", "-S", "-c", _CHILD, json.dumps(sys.path)],
        input=json.dumps(request).encode(),
        capture_output=True,
        cwd="/",
        check=False,
    )
    if child.returncode == 0:
        return child.stdout
    try:
        error = json.loads(child.stdout)
        message, hint = str(error["message"]), error["hint"]
    except (ValueError, KeyError, TypeError):
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise errors.RemitError(
            f"the compile child failed with status {child.returncode}: {' '.join(last)}",
            hint=f"{sys.executable} -I -c 'import remit.boundary.compile'",
        ) from None
    if error["class"] == "ScopeError":
        raise errors.ScopeError(message, hint=hint, path=error["path"], line=error["line"], column=error["column"])
    if error["class"] == "BoundaryError":
        raise errors.BoundaryError(message, hint=hint)
    raise errors.RemitError(message, hint=hint)


def _write(file: str, text: bytes, plan: Plan) -> None:
    try:
        folder, _, name = file.rpartition("/")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_ours(os.lstat(folder), stat.S_IFDIR):
            return
        temporary = f"{folder}/.{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(json.dumps(_witness(plan)).encode() + b"\n" + text)
        os.replace(temporary, file)
        _prune(folder)
    except OSError:
        pass  # a read-only or full home: the next run compiles again


def _prune(folder: str) -> None:
    with os.scandir(folder) as entries:
        found = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries)
    for _, path in found[:-_KEPT]:
        os.unlink(path)
