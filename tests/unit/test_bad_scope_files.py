"""A scope file that is wrong gets one line that says where and what, and a hint, soon, with status 121.

The files lie in `tests/scope_files/bad`, and `expected.txt` there holds what is said of each. After a change of words,
`python tests/unit/test_bad_scope_files.py` writes it anew, to be read line by line before it is committed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remit.boundary.cache import plan_request, scope_bytes
from remit.boundary.compile import compile_scope
from remit.boundary.host import find_host
from remit.cli import print_error
from remit.errors import ScopeError
from remit.evidence.locate import sessions_root
from remit.scope.document import MAX_BYTES, MAX_PARTS
from remit.scope.parse import parse_scope
from remit.scope.read import PATIENCE
from remit.scope.variables import find_places

BAD = Path(__file__).parents[1] / "scope_files" / "bad"
EXPECTED = BAD / "expected.txt"
NAMES = sorted(path.name for path in BAD.glob("*.yaml"))
BY_COMMAND = NAMES[::3]  # a process and its compile child for each would take a minute
HEAD = "remit: 1\ntask: a\n"
SECONDS = 30.0  # generous: a loaded machine; the parser itself is done within 2
MEMORY = 512 << 10  # KiB of address space, for remit and for its compile child each

pytestmark = pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")


class Place:
    """A home and a workspace in it, with every bad file."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, root / "home" / "work"
        for folder in ("work", "elsewhere", ".local", ".ssh"):
            (root / "home" / folder).mkdir(parents=True)
        (root / "home" / ".ssh" / "known_hosts").touch()
        for name in NAMES:
            (self.workspace / name).write_bytes((BAD / name).read_bytes())

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.root / "home"), "LANG": "C.UTF-8"}

    def remit(self, *words: str) -> subprocess.CompletedProcess[str]:
        limited = ["sh", "-c", f'ulimit -v {MEMORY}; exec "$@"', "sh"]
        command = [*limited, sys.executable, "-c", "from remit.cli import entry; entry()", *words]
        return subprocess.run(
            command,
            cwd=self.workspace,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=SECONDS,
        )

    def check(self, names: list[str]) -> dict[str, subprocess.CompletedProcess[str]]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(names, pool.map(lambda name: self.remit("scope", "check", name), names), strict=True))

    def compile(self, name: str) -> None:
        request = plan_request(
            Path(name),
            workspace=self.workspace,
            environment=self.environment,
            evidence_root=sessions_root(),
            accept_gaps=(),
            host=find_host(),
        )
        parsed = parse_scope(scope_bytes(Path(name)), name)
        places = find_places(request["workspace"], request["environment"])
        compile_scope(parsed, find_host(), places=places, outside=request["outside"])

    def said(self, stderr: str) -> str:
        return stderr.replace(str(self.root), "ROOT")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("bad").resolve())


def expected() -> dict[str, str]:
    lines = EXPECTED.read_text(encoding="utf-8").splitlines(keepends=True)
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {line.removeprefix("remit: ").partition(":")[0]: line + hint for line, hint in pairs}


def is_one_error(stderr: str) -> bool:
    """One line and its hint, both safe to print, and nothing of Python's own."""
    lines = stderr.split("\n")
    shape = len(lines) == 3 and lines[0].startswith("remit: ") and lines[1].startswith("hint: ") and not lines[2]
    return shape and all(line.isprintable() for line in lines) and "Traceback" not in stderr


def test_there_are_files_enough_and_each_has_its_line() -> None:
    assert len(BY_COMMAND) >= 60
    assert list(expected()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_refused_in_one_line(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the compile child does, without a child of its own for each file."""
    monkeypatch.chdir(place.workspace)
    monkeypatch.setenv("HOME", str(place.root / "home"))
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ScopeError) as caught:
        place.compile(name)
    print_error(caught.value)
    said = capsys.readouterr().err
    assert is_one_error(said), said
    assert re.match(rf"remit: {re.escape(name)}:\d+:\d+: \S", said)
    assert place.said(said) == expected()[name]


@pytest.mark.timeout(600)
def test_the_command_says_the_same(place: Place) -> None:
    for name, done in place.check(BY_COMMAND).items():
        assert (done.returncode, done.stdout, place.said(done.stderr)) == (121, "", expected()[name])


@pytest.mark.parametrize("name", ["bomb.yaml", "nul.yaml", "path-home.yaml", "port-reversed.yaml", "version-true.yaml"])
def test_run_says_the_same_and_starts_nothing(name: str, place: Place) -> None:
    done = place.remit("run", "--scope", name, "--", "touch", "started")
    assert (done.returncode, done.stdout, place.said(done.stderr)) == (121, "", expected()[name])
    assert not (place.workspace / "started").exists()
    sessions = place.root / "home" / ".local" / "state" / "remit" / "sessions"
    assert list(sessions.iterdir()) == []


def large(text: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(HEAD + text), None)[1]


def unreadable(path: Path) -> None:
    path.write_text(HEAD)
    path.chmod(0)


def looping(path: Path) -> None:
    path.symlink_to(path.name)


def nothing(path: Path) -> None:
    return None


# What stands under the name, then what is said after it.
ODD: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing.yaml", nothing, "No such file or directory"),
    ("directory.yaml", os.mkdir, "it is a directory"),
    ("pipe.yaml", os.mkfifo, f"nobody wrote it to its end within {PATIENCE:.0f} seconds"),
    ("unreadable.yaml", unreadable, "Permission denied"),
    ("loop.yaml", looping, "Too many levels of symbolic links"),
    ("zeros.yaml", lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    ("terminal.yaml", lambda path: path.symlink_to("/dev/tty"), ""),
    ("n" * 300 + ".yaml", nothing, "File name too long"),
    ("new\nline\x1b[2J.yaml", nothing, "No such file or directory"),
    ("huge.yaml", large("# " + "x" * MAX_BYTES), "too large"),
    ("sparse.yaml", lambda path: (path.touch(), os.truncate(path, 1 << 40)), "too large"),
    ("many-items.yaml", large("use: [" + "base," * MAX_PARTS + "]"), "too many keys and values"),
    ("many-keys.yaml", large("".join(f"key{n}: 1\n" for n in range(MAX_PARTS // 4))), "unknown key: key0"),
    ("deep-mappings.yaml", large("purpose: " + "{a: " * 5000), "levels deep"),
    ("long-text.yaml", large("purpose: " + "a " * 100_000), "longer than 2000 characters"),
    ("many-lines.yaml", large('purpose: "' + "\n" * 200_000), "a quote that is never closed"),
    ("long-number.yaml", large("processes: {at-most: " + "9" * 200_000 + "}"), "must be a whole number"),
]


@pytest.mark.parametrize(("name", "build", "message"), ODD, ids=[row[0][:20].encode("unicode_escape") for row in ODD])
def test_what_is_no_ordinary_file_or_is_huge(
    name: str, build: Callable[[Path], object], message: str, place: Place
) -> None:
    if build is unreadable and os.getuid() == 0:
        pytest.skip("root may read every file")
    build(place.workspace / name) if len(name) < 256 else None
    began = time.monotonic()
    done = place.remit("scope", "check", name)
    assert time.monotonic() - began < SECONDS
    assert (done.returncode, done.stdout) == (121, "")
    assert is_one_error(done.stderr), done.stderr
    assert message in done.stderr
    assert len(done.stderr) < 1000


def test_a_scope_may_come_through_a_pipe(place: Place) -> None:
    command = (
        f'exec {sys.executable} -c "from remit.cli import entry; entry()" scope check <(sleep 0.1; printf "%s" "$0")'
    )
    environment = {"PATH": os.defpath, "HOME": str(place.root / "home")}
    done = subprocess.run(
        ["bash", "-c", command, HEAD], cwd=place.workspace, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": OK\n")


def rewrite() -> None:
    with tempfile.TemporaryDirectory() as root:
        place = Place(Path(root).resolve())
        EXPECTED.write_text("".join(place.said(done.stderr) for done in place.check(NAMES).values()), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
