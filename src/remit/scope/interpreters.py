"""Finds where the interpreters on `$PATH` keep their files, and never answers with a home or a tree around it."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass

from remit.scope.variables import Places

# What lies beneath the prefix of every interpreter of its kind.
_PYTHON, _NODE = "lib/python3*/os.py", "lib/node_modules"


@dataclass(frozen=True, slots=True)
class PythonPlaces:
    """Trees that the interpreters need, sources that they import from, and pyenv's root when its shims are in use."""

    prefixes: tuple[str, ...]
    sources: tuple[str, ...]
    pyenv_root: str | None


def python_prefixes(places: Places) -> PythonPlaces:
    """Prefixes of every python3 and python on `$PATH`: virtual environments, what they are made from, shims' roots."""
    prefixes: list[str] = []
    pyenv_root = None
    environment = places.environment.get("VIRTUAL_ENV", "")
    if environment.startswith("/"):
        program = os.path.join(environment, "bin", "python3")
        prefixes += _trusted(_python_prefix(program), program, places, _PYTHON)
    for program in on_path(places, ("python3", "python")):
        root = _shims_root(program)
        if root is None:
            prefixes += _trusted(_python_prefix(program), program, places, _PYTHON)
            continue
        prefixes.append(root)
        if os.path.isdir(os.path.join(root, "libexec")) and os.path.isdir(os.path.join(root, "versions")):
            pyenv_root = pyenv_root or root
    found = _safe(prefixes, places)
    sources = [path for prefix in found for path in _linked_sources(prefix, places)]
    return PythonPlaces(found, tuple(dict.fromkeys(sources)), pyenv_root)


def prefixes_of(program: str, places: Places) -> tuple[str, ...]:
    """The virtual environment of one Python interpreter, and the prefix of the one that really runs."""
    return _safe(_python_prefix(program), places)


def node_prefixes(places: Places) -> tuple[str, ...]:
    """Prefixes of every node on `$PATH`, such as `~/.nvm/versions/node/v22.1.0`."""
    prefixes: list[str] = []
    for program in on_path(places, ("node",)):
        root = _shims_root(program)
        found = [] if root is None else [root]
        for path in (program, os.path.realpath(program)):
            if os.path.basename(os.path.dirname(path)) == "bin":
                found.append(os.path.dirname(os.path.dirname(path)))
        prefixes += _trusted(found, program, places, _NODE)
    return _safe(prefixes, places)


def on_path(places: Places, names: Iterable[str]) -> list[str]:
    """Every program on `$PATH` that has one of these names."""
    candidates = (os.path.join(directory, name) for directory in places.path_directories for name in names)
    return [path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)]


def _shims_root(program: str) -> str | None:
    """`~/.pyenv` for `~/.pyenv/shims/python3`: the shim is a script that looks for the real one beneath its root."""
    directory = os.path.dirname(program)
    if os.path.basename(directory) != "shims":
        return None
    parent = os.path.dirname(directory)
    # A plug-in's shims lie in ROOT/plugins/NAME/shims.
    if os.path.basename(os.path.dirname(parent)) == "plugins":
        return os.path.dirname(os.path.dirname(parent))
    return parent


def _python_prefix(program: str) -> list[str]:
    """The virtual environment of `program`, if it is in one, and the prefix of the interpreter that really runs."""
    prefixes: list[str] = []
    environment = os.path.dirname(os.path.dirname(program))
    home = _venv_home(environment)
    if home is not None:
        prefixes += [environment, os.path.dirname(home)]
    real = os.path.realpath(program)
    if os.path.basename(os.path.dirname(real)) == "bin":
        prefixes.append(os.path.dirname(os.path.dirname(real)))
    return prefixes


def _venv_home(environment: str) -> str | None:
    """`home` in pyvenv.cfg: the directory of the interpreter that the virtual environment was made from."""
    try:
        with open(os.path.join(environment, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
            for line in file.read(65536).splitlines():
                key, _, value = line.partition("=")
                if key.strip() == "home" and value.strip().startswith("/"):
                    return os.path.realpath(value.strip())
    except OSError:
        return None
    return None


def _linked_sources(prefix: str, places: Places) -> list[str]:
    """The directories that an environment's .pth files add to its path, as `pip install --editable` does.

    Not of an environment in the workspace: an agent could name there what its next session shall read.
    """
    if (prefix + "/").startswith(places.workspace.rstrip("/") + "/"):
        return []
    found: list[str] = []
    for file in sorted(glob.glob(os.path.join(glob.escape(prefix), "lib", "python3*", "site-packages", "*.pth"))):
        try:
            with open(file, encoding="utf-8", errors="replace") as lines:
                found += [
                    line for line in lines.read(65536).splitlines() if os.path.isabs(line) and os.path.isdir(line)
                ]
        except OSError:
            continue
    # A home, of which `_safe` would leave parts, is left out altogether.
    return [path for line in found for path in _safe([line], places) if path == os.path.realpath(line)]


def _trusted(prefixes: list[str], program: str, places: Places, landmark: str) -> list[str]:
    """Of what a program leads to: all, but for a program in the workspace only what is an interpreter's place.

    A link or a pyvenv.cfg there may be an agent's work, and would have its next session read whatever it names. Outside
    the workspace an agent can make no landmark.
    """
    if not _is_within(os.path.dirname(program), places.workspace):
        return prefixes
    return [
        prefix
        for prefix in prefixes
        if _is_within(prefix, places.workspace) or glob.glob(os.path.join(glob.escape(prefix), landmark))
    ]


def _is_within(path: str, tree: str) -> bool:
    return (os.path.realpath(path) + "/").startswith(os.path.realpath(tree).rstrip("/") + "/")


def _safe(prefixes: Iterable[str], places: Places) -> tuple[str, ...]:
    home = os.path.realpath(places.home)
    # `make install` into these mixes an interpreter with everything else that a person keeps there.
    mixed = (home, os.path.join(home, ".local"))
    found: list[str] = []
    for prefix in prefixes:
        real = os.path.realpath(prefix)
        if real in mixed:
            found += [os.path.join(real, part) for part in ("bin", "include", "lib")]
        elif real != "/" and not (home + "/").startswith(real + "/"):
            found.append(real)
    return tuple(dict.fromkeys(found))
