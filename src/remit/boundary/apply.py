"""The one ordered place where walls go up, in the process that will become the agent; any failure means no agent.

Landlock goes on in two layers. Layer one carries the scope. The deputy forks off beneath it, then the agent gets layer
two, which is the same for files but allows no TCP at all: what the agent may connect to, the deputy connects for it,
and what is beneath layer two can neither signal nor trace what is only beneath layer one.
"""

from __future__ import annotations

import binascii
import os
import resource
from collections.abc import Callable
from functools import partial

from remit.boundary import mask_mounts
from remit.boundary.mask_mounts import Cover
from remit.boundary.observation import trees_around
from remit.errors import BoundaryError
from remit.kernel import landlock, namespaces, process, seccomp
from remit.plan import AddressGrant, Limits, PathGrant, Plan, by_phase

# A wider range is left to the supervisor's tables: one Landlock rule per port would make the ruleset huge.
_PORT_RULES_MAX = 2048
_OOM_SCORE = "500"  # the agent goes before its supervisor when memory runs out


def make_expendable() -> None:
    """Raise oom_score_adj; must come before the process turns non-dumpable, which gives /proc/self to root."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write(_OOM_SCORE)
    except OSError:
        pass  # a container may mount /proc read-only; the score is a courtesy, not a wall


def mount_walls(plan: Plan, temporary_directory: str, covers: tuple[Cover, ...]) -> tuple[int, int] | None:
    """Mount over what is secret or protected inside granted trees, and where the plan says so make a view of its own;
    the namespaces that this made, or None for none.

    Before everything else: it needs the rights over a namespace of one's own, which are dropped next.
    """
    if plan.view:
        from remit.boundary import view  # for the sessions that have one

        try:
            view.put_up(view.lay_out(plan.files, plan.unix, temporary_directory), covers)
        except OSError as problem:
            raise BoundaryError(
                f"cannot make a view of the file system: {problem}",
                hint="write nested-sandbox: refuse, or run where user namespaces and mounts are allowed",
            ) from problem
        return namespaces.open_own()
    if not covers:
        return None
    try:
        mask_mounts.put_up(covers)
    except OSError as problem:
        raise BoundaryError(
            f"cannot cover what is secret or protected inside a granted tree: {problem}",
            hint="move it out of the granted tree, or grant narrower paths",
        ) from problem
    return namespaces.open_own()


def drop_privileges() -> None:
    """No capabilities, and no way back to any."""
    _do("drop capabilities", process.drop_capabilities)
    _do("set no_new_privs", landlock.set_no_new_privileges)


def restrict_deputy_layer(plan: Plan, temporary_directory: str) -> None:
    """Landlock layer one: the scope's files, its TCP ports where they fit, and nobody outside to signal."""
    connect = _ports(plan.connect)
    bind = _ports(plan.listen)
    network = 0
    if plan.landlock_abi >= 4 and not plan.observe:
        network |= landlock.CONNECT_TCP if connect is not None else 0
        network |= landlock.BIND_TCP if bind is not None else 0
    _restrict(plan, temporary_directory, network, {landlock.CONNECT_TCP: connect, landlock.BIND_TCP: bind})


def restrict_agent_layer(plan: Plan, temporary_directory: str) -> None:
    """Landlock layer two: the same files and no TCP of its own."""
    network = landlock.CONNECT_TCP | landlock.BIND_TCP if plan.landlock_abi >= 4 else 0
    _restrict(plan, temporary_directory, network, {})


def phase_layers(plan: Plan, temporary_directory: str) -> dict[str | None, int]:
    """A ruleset for each phase and for None, to be the last layer of programs that are started in it; none where the
    scope has no phases, only observes, or has a view, which is the same in all. They are made before the filter is on,
    for opening is a question then."""
    abi = plan.landlock_abi
    if not plan.phases or plan.observe or plan.view or abi == 0:
        return {}
    files = landlock.handled_file_rights(abi)
    layers: dict[str | None, int] = {}
    for name, each in by_phase(plan).items():
        try:
            layers[name] = landlock.create_ruleset(files=files, network=0, scopes=0, abi_version=abi)
            for grant in each.files:
                _allow(layers[name], grant, temporary_directory, files)
        except OSError as problem:
            raise BoundaryError(f"cannot make the Landlock wall of a phase: {name}: {problem}") from problem
    return layers


def restrict_to_phase(layer: int) -> None:
    """The last layer, in the process that becomes the program. Raises OSError, and then it must not."""
    landlock.restrict_self(layer)


def install_filter(plan: Plan) -> tuple[int, bool]:
    """The seccomp filter, last of all: from here on the process's own rare calls are questions too."""
    try:
        return seccomp.install_filter(binascii.a2b_base64(plan.seccomp))
    except OSError as problem:
        raise BoundaryError(
            f"cannot install the seccomp filter: {problem}",
            hint="this kernel or container forbids seccomp user notification",
        ) from problem


def set_limits(plan: Plan) -> None:
    """Per-process limits that the kernel keeps; tree-wide ones are the supervisor's."""
    limits = Limits() if plan.observe else plan.limits
    wanted = (
        (resource.RLIMIT_CORE, 0),  # a core dump would write memory where the scope did not say
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.file_size),
        (resource.RLIMIT_CPU, None if limits.cpu is None else int(limits.cpu) + 1),
    )
    for limit, value in wanted:
        if value is None:
            continue
        soft, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        floor = ceiling if soft == resource.RLIM_INFINITY else min(ceiling, soft)
        _do("set a resource limit", partial(resource.setrlimit, limit, (floor, ceiling)))


def _restrict(plan: Plan, temporary_directory: str, network: int, ports: dict[int, set[int] | None]) -> None:
    abi = plan.landlock_abi
    if abi == 0:
        return  # the plan carries the wall gap, and nobody gets here without having accepted it
    # Who handles file rights refuses every mount, so in a view the mounts are the wall of files.
    files = 0 if plan.view else landlock.handled_file_rights(abi)
    if plan.observe:
        files &= landlock.WRITE | landlock.READ_FILE  # listing and running concern nothing of remit's own
    scopes = landlock.SCOPE_SIGNAL | landlock.SCOPE_ABSTRACT_UNIX_SOCKET if abi >= 6 else 0
    if not (files or network or scopes):
        return
    try:
        ruleset = landlock.create_ruleset(files=files, network=network, scopes=scopes, abi_version=abi)
        try:
            if plan.observe:
                for path in trees_around((*plan.outside, *plan.hidden)):
                    _allow_if_there(ruleset, path, landlock.WRITE & files)
                for path in trees_around(plan.hidden):
                    _allow_if_there(ruleset, path, landlock.READ_FILE & files)
            for grant in () if plan.observe or plan.view else plan.files:
                _allow(ruleset, grant, temporary_directory, files)
            for right, numbers in ports.items():
                if network & right:
                    for port in sorted(numbers or ()):
                        landlock.allow_port(ruleset, port, right)
            landlock.restrict_self(ruleset)
        finally:
            os.close(ruleset)
    except OSError as problem:
        raise BoundaryError(
            f"cannot put up the Landlock wall: {problem}", hint="the agent was not started; see `remit scope explain`"
        ) from problem


def _allow(ruleset: int, grant: PathGrant, temporary_directory: str, handled: int) -> None:
    rights = 0
    if "read" in grant.access:
        rights |= landlock.READ
    if "execute" in grant.access:
        rights |= landlock.EXECUTE
    if "write" in grant.access:
        rights |= landlock.WRITE
    _allow_if_there(ruleset, grant.path.replace("$TMPDIR", temporary_directory), rights & handled)


def _allow_if_there(ruleset: int, path: str, rights: int) -> None:
    try:
        landlock.allow_path(ruleset, path, rights)
    except FileNotFoundError:
        pass  # gone since it was looked at: granting nothing is the narrower wall


def _ports(grants: tuple[AddressGrant, ...]) -> set[int] | None:
    """The ports that the grants name, or None when there are too many for Landlock."""
    numbers: set[int] = set()
    for grant in grants:
        first, last = grant.first_port, grant.last_port
        if len(numbers) + last - first + 1 > _PORT_RULES_MAX:
            return None
        numbers.update(range(first, last + 1))
    return numbers


def _do(what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except (OSError, ValueError) as problem:
        raise BoundaryError(f"cannot {what}: {problem}") from problem
