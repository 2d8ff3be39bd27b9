"""Programs that bring a sandbox of their own: what they ask for, whether the scope lets them, and how to do without.

A sandbox inside a sandbox fails in ways that its messages do not explain. So the refusal says what to switch off.
"""

from __future__ import annotations

import os

from remit.kernel import proc
from remit.supervisor.processes import Process

REFUSE, USERNS, MOUNT = "refuse", "userns", "mount"

# The switch of each that leaves its own sandbox out, for the session has one already. By the name of its program.
_SWITCHES = {
    "bwrap": "switch off the sandbox of whoever called it",
    "chrome": "--no-sandbox",
    "chromium": "--no-sandbox",
    "chromium-browser": "--no-sandbox",
    "headless_shell": "--no-sandbox",
    "chrome-headless-shell": "--no-sandbox",
    "electron": "--no-sandbox",
    "chrome-sandbox": "--no-sandbox",
    "firefox": "MOZ_DISABLE_CONTENT_SANDBOX=1",
    "codex": "--sandbox danger-full-access",
    "codex-linux-sandbox": "--sandbox danger-full-access",
    "nix": "--option sandbox false",
    "nix-build": "--option sandbox false",
    "bazel": "--spawn_strategy=local",
    "linux-sandbox": "--spawn_strategy=local",
    "flatpak": "run it outside",
    "podman": "run it outside",
    "docker": "run it outside",
    "rootlesskit": "run it outside",
    "buildah": "run it outside",
    "firejail": "leave it out",
    "nsjail": "leave it out",
    "unshare": "leave it out",
    "remit": "leave it out: the session has its boundary",
}


def allows_namespaces(scope: dict[str, object]) -> bool:
    """Whether the scope lets programs make user namespaces, and others within them."""
    return scope.get("nested-sandbox") in (USERNS, MOUNT)


def allows_mounts(scope: dict[str, object]) -> bool:
    """Whether they may mount there. What the session's own view holds the kernel keeps locked."""
    return scope.get("nested-sandbox") == MOUNT


def has_own_network(scope: dict[str, object], thread: int) -> bool:
    """Whether a thread has left our network for one of a sandbox's own."""
    return allows_namespaces(scope) and proc.network_namespace(thread) != proc.network_namespace("self")


def numbers_apart(process: Process) -> bool:
    """Whether it lies in a process namespace that was made inside, where numbers name its own kind only."""
    try:
        return proc.read_link(f"/proc/{process.pid}/ns/pid") != proc.read_link("/proc/self/ns/pid")
    except OSError:
        return False


def clause(process: Process, scope: dict[str, object]) -> str:
    """What a refusal cites: the key of the scope, and what to switch off in the program that asked, if it is known."""
    cited = f"nested-sandbox: {scope.get('nested-sandbox', REFUSE)}"
    switch = known_switch(process)
    return f"{cited} ({switch})" if switch else cited


def known_switch(process: Process) -> str | None:
    """`program: switch` when the process runs a program that is known to bring a sandbox."""
    try:
        name = os.path.basename(proc.read_link(f"/proc/{process.pid}/exe"))
    except OSError:
        return None
    return f"{name}: {_SWITCHES[name]}" if name in _SWITCHES else None
