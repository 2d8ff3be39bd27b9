"""Presets for agents as they are installed: their program, its packages, and settings that need no home and no network.

None of an agent's own configuration is granted: logins lie beside it. It starts with an empty home, a project's own
settings are in the workspace, and its model is the scope's.
"""

from __future__ import annotations

import os
from dataclasses import replace

from remit.scope.interpreters import on_path, prefixes_of
from remit.scope.preset import Preset
from remit.scope.variables import Places

_CLAUDE_CODE = Preset(
    name="claude-code",
    version=1,
    summary="Claude Code's command line, from npm or by itself; nothing of ~/.claude",
    set={
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",  # its updates, reports and surveys have nowhere to go
        "DISABLE_AUTOUPDATER": "1",
    },
)

_CODEX = Preset(
    name="codex",
    version=1,
    summary="Codex's command line, from npm or by itself; nothing of ~/.codex",
)

_MINI_SWE_AGENT = Preset(
    name="mini-swe-agent",
    version=1,
    summary="mini-swe-agent with the Python environment that it is installed in; nothing of its configuration",
    set={
        "MSWEA_CONFIGURED": "true",  # else it asks for a model's name and key at its first start
        "MSWEA_COST_TRACKING": "ignore_errors",  # a model that no price list knows is no error
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else the list is fetched
        "PYTHONDONTWRITEBYTECODE": "1",  # caches beside its modules could not be written
    },
)

AGENTS = (_CLAUDE_CODE, _CODEX, _MINI_SWE_AGENT)
_PROGRAMS = {"claude-code": ("claude",), "codex": ("codex",), "mini-swe-agent": ("mini", "mini-swe-agent")}
_MODULES = "/node_modules/"


def agent_preset(preset: Preset, places: Places) -> Preset:
    """The preset with the places of the agent's program, wherever on `$PATH` it is."""
    found: list[str] = []
    for program in on_path(places, _PROGRAMS[preset.name]):
        found += _places_of(program, places)
    return replace(preset, execute=tuple(dict.fromkeys(found)))


def _places_of(program: str, places: Places) -> tuple[str, ...]:
    real = os.path.realpath(program)
    workspace = places.workspace.rstrip("/") + "/"
    if any(f"{path}/".startswith(workspace) for path in (program, real)):
        return ()  # it can be run there, and what it names may be an agent's work
    if _MODULES in real:
        # All packages of the same scope: what is built for this machine is a package of its own, beside it.
        root, _, rest = real.partition(_MODULES)
        return (f"{root}{_MODULES}{rest.partition('/')[0]}",)
    return (real, *prefixes_of(interpreter, places)) if (interpreter := _interpreter(real)) else (real,)


def _interpreter(program: str) -> str | None:
    """The Python that a script's first line names, as installers of Python programs write it."""
    try:
        with open(program, "rb") as file:
            first = file.read(512).partition(b"\n")[0]
    except OSError:
        return None
    path = os.fsdecode(first[2:].strip())
    named = first.startswith(b"#!") and os.path.basename(path).startswith("python")
    return path if named and os.path.isabs(path) else None
