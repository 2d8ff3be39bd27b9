"""What this kernel can enforce, found by trying and kept as plain data, so that a test can be any host it likes.

Standard library and `remit.kernel` only: it runs before every agent starts. Whether libseccomp loads is not part of it,
because only the compile child needs libseccomp and a plan from the cache does not.
"""

from __future__ import annotations

import json
import os

from remit.kernel import landlock, pidfd, proc, seccomp
from remit.plain import Data, plain


class Host(Data):
    """The facts that change a plan."""

    landlock_abi: int  # 0: absent or not enabled at boot
    seccomp_notify: bool  # SECCOMP_RET_USER_NOTIF can be installed
    kernel: str  # release, for people; nothing is decided by it
    machine: str
    uid: int
    take_descriptors: bool = True  # pidfd_getfd works; a stock container's seccomp profile refuses it
    beneath_filter: bool = False  # a seccomp filter was there before us, as in a container
    cgroup: bool = False  # a session can have one of its own
    cgroup_freezer: bool = False  # and one that freezes it as one
    cgroup_memory: bool = False  # and one that limits its memory
    cgroup_pids: bool = False  # and one that limits its processes and threads
    # A mount namespace of the session's own. Trying costs more than all the rest, so only a plan that needs it asks.
    mount_masks: bool = False


def find_host() -> Host:
    """The host we run on."""
    system = os.uname()
    cgroups = _cgroups()
    return Host(
        landlock_abi=landlock.abi(),
        seccomp_notify=seccomp.notification_available(),
        kernel=system.release,
        machine=system.machine,
        uid=os.getuid(),
        take_descriptors=pidfd.can_take_descriptors(),
        beneath_filter=seccomp.is_beneath_filter(),
        cgroup=bool(cgroups),
        cgroup_freezer=bool(cgroups & {"unified", "freezer"}),
        cgroup_memory="memory" in cgroups,
        cgroup_pids="pids" in cgroups,
    )


def _cgroups() -> frozenset[str]:
    """What a cgroup of the session's own can hold. Most callers may write to none, and for them nothing is loaded."""
    try:
        directories = [own.directory for own in proc.own_cgroups(proc.cgroup_mounts())]
    except OSError:
        return frozenset()
    if not any(os.access(path, os.W_OK) or os.access(os.path.dirname(path), os.W_OK) for path in directories):
        return frozenset()
    from remit.boundary.cgroups import what_can_be_had

    return what_can_be_had()


def host_to_json(host: Host) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII."""
    return json.dumps(plain(host), sort_keys=True, separators=(",", ":"))


def host_from_json(text: str) -> Host:
    """The inverse of `host_to_json`; raises ValueError on a wrong shape."""
    try:
        return Host(**json.loads(text))
    except TypeError as problem:
        raise ValueError(f"host has the wrong shape: {problem}") from problem
