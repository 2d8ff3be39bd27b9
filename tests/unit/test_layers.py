"""Imports run one way, the supervisor's side needs the standard library alone, and every file stays small."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import remit
from remit.boundary.host import find_host
from remit.evidence.chain import verify

ROOT = Path(remit.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
FILES = [*MODULES, *sorted(Path(__file__).parents[1].rglob("*.py"))]
MOST_LINES = 400

# A package may import those named here, itself, and `plain`, of which data is made. `cli`, `demo` and `doctor` stand
# on top and may import anything.
MAY_IMPORT: dict[str, set[str]] = {
    "claims": set(),
    "digest": set(),
    "errors": set(),
    "events": set(),
    "findings": set(),
    "plain": set(),
    "plan": set(),
    "uses": set(),
    "protocol": set(),
    "session": {"errors"},
    "tool_arguments": set(),
    "scope": {"errors", "plan", "uses"},
    "evidence": {"digest", "errors"},
    # The engine's column: from evidence to conclusions.
    "attribution": {"claims", "events", "findings", "tool_arguments"},
    "detectors": {"events", "findings", "attribution", "tool_arguments"},
    "engine": {"errors", "events", "findings", "evidence", "attribution", "detectors"},
    "report": {"claims", "errors", "events", "findings", "uses", "evidence", "attribution", "detectors", "engine"},
    "testing": {"errors", "events", "findings", "evidence", "attribution", "engine"},
    # The supervisor's column: from a scope to walls, answers and evidence.
    "kernel": set(),
    "attempts": {"kernel"},
    "boundary": {"digest", "errors", "plan", "protocol", "kernel", "scope", "evidence", "attempts"},
    "supervisor": {"claims", "digest", "errors", "plan", "protocol", "kernel", "boundary", "evidence", "attempts"},
    # What a harness imports.
    "adapters": {"claims", "clock"},
    "clock": {"claims", "digest", "errors", "protocol", "session", "tool_arguments"},
}
ON_TOP = {"cli", "demo", "doctor"}
COLUMNS = (
    {"attribution", "detectors", "engine", "report", "testing"},
    {"kernel", "attempts", "boundary", "supervisor"},
)

# Nothing else may import a package from outside the standard library, and these only the ones named.
THIRD_PARTY = {
    "remit.scope": {"pydantic", "pydantic_core", "ruamel"},
    "remit.boundary.filters": {"pyseccomp"},
    "remit.evidence.keys": {"cryptography"},
    "remit.evidence.signatures": {"cryptography"},
    "remit.cli.completion": {"shtab"},
    "remit.demo": {"asyncssh"},
    "remit.adapters.openai_agents": {"agents"},
    "remit.adapters.langchain": {"langchain_core"},
    "remit.adapters.inspect_ai": {"inspect_ai"},
    "remit.clock.mcp_http": {"anyio", "mcp", "mcp_types", "pydantic", "starlette", "uvicorn"},
    "remit.clock.gateway": {"aiohttp", "multidict", "yarl"},
    "remit.clock.shell": {"tree_sitter", "tree_sitter_bash"},
}

# What a pure function of the evidence has no use for: clocks, files, sockets, processes, chance.
IMPURE = {"os", "time", "datetime", "pathlib", "socket", "subprocess", "random", "secrets", "io", "threading", "signal"}
PURE = (
    "attribution",
    "detectors",
    "engine/decode.py",
    "engine/engine.py",
    "engine/judge.py",
    "events.py",
    "findings.py",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file it does; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module: str) -> str:
    """The part of remit that a dotted name lies in; what stands in `remit` itself has none."""
    parts = module.split(".")
    known = set(MAY_IMPORT) | ON_TOP
    return parts[1] if len(parts) > 1 and parts[1] in known else ""


def test_every_part_of_remit_has_its_place() -> None:
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert parts == set(MAY_IMPORT) | ON_TOP


def test_the_layers_are_a_direction() -> None:
    graphlib.TopologicalSorter(MAY_IMPORT).prepare()  # raises CycleError


def test_no_column_may_import_the_other() -> None:
    for one, other in (COLUMNS, COLUMNS[::-1]):
        assert all(MAY_IMPORT[package].isdisjoint(other) for package in one)


def test_imports_run_one_way() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in MODULES
        if (package := package_of(name_of(path))) in MAY_IMPORT
        for module in imports_of(path)
        if package_of(module) not in {"", "plain", package, *MAY_IMPORT[package]}
    ]
    assert wrong == []


def test_of_the_evidence_the_boundary_knows_only_the_place() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in (ROOT / "boundary").rglob("*.py")
        for module in imports_of(path)
        if module.startswith("remit.evidence") and not module.startswith("remit.evidence.places")
    ]
    assert wrong == []


def test_packages_from_outside_are_imported_only_where_they_may_be() -> None:
    wrong = []
    for path in MODULES:
        name = name_of(path)
        allowed = {word for place, words in THIRD_PARTY.items() if f"{name}.".startswith(f"{place}.") for word in words}
        for module in imports_of(path):
            top = module.partition(".")[0]
            if top != "remit" and top not in sys.stdlib_module_names and top not in allowed:
                wrong.append(f"{name} imports {module}")
    assert wrong == []


@pytest.mark.parametrize("gate", ["ctypes", "fcntl"])
def test_only_the_gate_to_the_kernel_speaks_c(gate: str) -> None:
    users = {package_of(name_of(path)) for path in MODULES if gate in {m.partition(".")[0] for m in imports_of(path)}}
    assert users == {"kernel"}


def test_what_concludes_reads_no_clock_file_socket_or_process() -> None:
    wrong = []
    for path in MODULES:
        if path.relative_to(ROOT).as_posix().startswith(PURE):
            used = {module.partition(".")[0] for module in imports_of(path)} & IMPURE
            wrong += [f"{name_of(path)} imports {module}" for module in sorted(used)]
    assert wrong == []


def test_every_file_is_small_and_begins_by_saying_what_it_is() -> None:
    assert [str(path) for path in FILES if path.read_text(encoding="utf-8").count("\n") > MOST_LINES] == []
    assert [str(path) for path in FILES if not begins_with_docstring(path)] == []


def begins_with_docstring(path: Path) -> bool:
    tree = ast.parse(path.read_bytes())
    return ast.get_docstring(tree) is not None and tree.body[0].lineno == 1


# Each takes milliseconds to load, and a short command would wait for them (docs/decisions/0015).
SLOW = {"dataclasses", "inspect", "pathlib", "shutil", "subprocess", "tempfile", "threading", "logging", "glob"}

# Stands before every other importer, and is inherited by all the processes that `remit run` forks. The notary alone
# may import more: it signs beside the agent, not before it.
WATCHED_RUN = """
import ctypes, importlib.abc, sys

libc = ctypes.CDLL(None)

class Standard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        libc.prctl(16, name_of_process := ctypes.create_string_buffer(16))  # PR_GET_NAME; /proc is closed to the notary
        notary = name_of_process.value == b"remit-notary"
        if top != "remit" and top not in sys.stdlib_module_names and not notary:
            raise ImportError(f"not of the standard library: {name}")
        if top in SLOW and not notary:
            raise ImportError(f"slow to load: {name}")
        return None

SLOW = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Standard())
from remit.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")
def test_from_run_to_the_end_of_the_session_nothing_from_outside_or_slow_is_imported(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(slow: set[str], evidence: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WATCHED_RUN, ",".join(slow), "run", "--evidence", str(evidence), "--", "true"]
        return subprocess.run(command, env=environment, cwd=workspace, capture_output=True, text=True, timeout=60)

    # The compile child is a process of its own and needs its libraries; the second run finds the plan in the cache.
    compiled = run(set(), tmp_path / "first")
    assert compiled.returncode == 0, compiled.stderr
    watched = run(SLOW, tmp_path / "second")
    assert (watched.returncode, watched.stdout, watched.stderr) == (0, "", "")
    chain = verify(tmp_path / "second")
    assert chain.closed
    # An engine or supervisor that had met a forbidden import would have left a loss behind.
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((tmp_path / "second").glob("segment-*.jsonl")))
    assert '"kind":"loss"' not in text
    assert '"kind":"unsigned"' not in text
