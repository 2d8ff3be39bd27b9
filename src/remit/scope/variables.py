"""Variables in a scope mean one thing each; an unknown one is an error, and `$TMPDIR` stays itself until launch."""

from __future__ import annotations

import difflib
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass

from remit.scope.values import ValueProblem

# A private directory of each session, so a cached plan cannot know it.
TEMPORARY = "$TMPDIR"
NAMES = ("WORKSPACE", "TMPDIR", "HOME", "USER", "PATH")

# What the environment may change in a plan; a cache must tell these apart.
USED_VARIABLES = ("HOME", "USER", "LOGNAME", "PATH", "VIRTUAL_ENV", "PYENV_ROOT", "NVM_DIR")

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True, slots=True)
class Places:
    """What the variables stand for. Paths are absolute; the workspace is resolved."""

    workspace: str
    home: str
    user: str
    path_directories: tuple[str, ...]
    environment: Mapping[str, str]


def find_places(workspace: str, environment: Mapping[str, str]) -> Places:
    """The places of a caller with this environment."""
    home, user = environment.get("HOME", ""), environment.get("USER", "") or environment.get("LOGNAME", "")
    if not home.startswith("/") or not user:
        try:
            entry = pwd.getpwuid(os.getuid())
            home, user = home if home.startswith("/") else entry.pw_dir, user or entry.pw_name
        except KeyError:  # a container may run a uid that has no name
            home, user = home if home.startswith("/") else "/", user or str(os.getuid())
    # An empty or relative entry means the directory one happens to be in, which no grant can name.
    directories = tuple(dict.fromkeys(d for d in environment.get("PATH", "").split(":") if d.startswith("/")))
    return Places(os.path.realpath(workspace), os.path.normpath(home), user, directories, dict(environment))


def expand_text(text: str, places: Places) -> str:
    """`text` with its variables replaced, `$TMPDIR` left; raises ValueProblem for an unknown variable."""
    values = {
        "WORKSPACE": places.workspace,
        "TMPDIR": TEMPORARY,
        "HOME": places.home,
        "USER": places.user,
        "PATH": ":".join(places.path_directories),
    }

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            near = difflib.get_close_matches(name, NAMES, 1, cutoff=0.5)
            hint = f"did you mean ${near[0]}?" if near else "known: " + " ".join(f"${known}" for known in NAMES)
            raise ValueProblem(f"unknown variable: ${name}", hint)
        return values[name]

    return _VARIABLE.sub(replace, text)


def expand_paths(text: str, places: Places) -> tuple[str, ...]:
    """The absolute paths that one path of a scope means: several for `$PATH`, else one."""
    if text in ("$PATH", "${PATH}"):
        return places.path_directories
    if text == "~" or text.startswith("~/"):
        text = places.home + text[1:]
    elif text.startswith("~"):
        raise ValueProblem(f"another user's home is not supported: {text}", "write the path in full")
    if re.search(r"\$(PATH\b|\{PATH\})", text):
        raise ValueProblem(f"$PATH stands for several directories: {text}", "write $PATH alone")
    expanded = expand_text(text, places)
    if expanded == TEMPORARY or expanded.startswith(TEMPORARY + "/"):
        below = os.path.normpath("/" + expanded[len(TEMPORARY) :].lstrip("/"))
        if ".." in expanded.split("/"):
            raise ValueProblem(f"a path below $TMPDIR cannot go up: {text}", "leave out ..")
        return (TEMPORARY + below.rstrip("/"),)
    if TEMPORARY in expanded:
        raise ValueProblem(f"$TMPDIR can only begin a path: {text}", "write $TMPDIR/NAME")
    if any(c in expanded for c in "*?["):
        raise ValueProblem(
            f"patterns are not supported in paths: {text}", "write the directory; what is beneath is included"
        )
    path = os.path.normpath(os.path.join(places.workspace, expanded))
    if not expanded.startswith("/") and not f"{path}/".startswith(f"{places.workspace}/"):
        raise ValueProblem(f"a relative path that leads out of the workspace: {text}", f"write it in full: {path}")
    return (path,)
