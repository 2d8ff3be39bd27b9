"""A real session for the attack programs, outsiders for them to attack, and the evidence of what became of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import PROGRAMS, SECRET, Inside, Listener, Open, new_workspace

from remit import Session
from remit.boundary.cache import load_plan
from remit.boundary.host import find_host
from remit.doctor.examination import scope_for
from remit.doctor.outsiders import Outsiders
from remit.kernel import landlock
from remit.kernel.libc import MACHINE
from remit.plan import Plan
from remit.scope.gaps import WALL_NAMES

ON_EVERY_KERNEL = {"test_signals.py", "test_truncate.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if MACHINE != "x86_64":
        reason = f"the attack programs know x86-64 only, this is {MACHINE}"
    elif landlock.abi() < 6:
        reason = f"every wall is wanted, and Landlock ABI {landlock.abi()} has no scopes"
        items = [item for item in items if item.path.name not in ON_EVERY_KERNEL]
    if reason is not None:
        for item in items:
            if item.path.parent == PROGRAMS.parent:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with secrets in it. Not below a granted tree, and not around one."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "id_ed25519").write_text(SECRET)
    (home / "notes.txt").write_text(SECRET)
    return home


@pytest.fixture(scope="session", autouse=True)
def _caller(home: Path) -> Iterator[None]:
    """The caller's environment: this home, this interpreter, and a credential that no scope grants."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("PATH", os.path.dirname(sys.executable) + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        patch.setenv("MODEL_API_KEY", SECRET)
        for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "VIRTUAL_ENV"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def open_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open a session with the default scope, or with the text of a scope; it ends with the module's last test."""
    sessions: list[Session] = []

    def open_one(scope: str | None = None, **options: Any) -> Inside:
        workspace = new_workspace(tmp_path_factory)
        path = None
        if scope is not None:
            path = tmp_path_factory.mktemp("scope") / "scope.yaml"
            path.write_text(
                "remit: 1\ntask: attack\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n" + scope
            )
        # An older kernel has gaps, and what they leave open is not tried there.
        session = Session(path, workspace=workspace, accept_gaps=WALL_NAMES if landlock.abi() < 6 else (), **options)
        session.__enter__()
        sessions.append(session)
        return Inside(session, workspace)

    yield open_one
    for session in sessions:
        session.__exit__(None, None, None)


@pytest.fixture(scope="module")
def inside(open_session: Open) -> Inside:
    """A session with the default scope, shared by the tests of a module."""
    return open_session()


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of an outsider, with a file in it that must stay as it is."""
    directory = tmp_path_factory.mktemp("outside")
    (directory / "file").write_text(SECRET)
    return directory


@pytest.fixture
def outsider() -> Iterator[int]:
    """A process of the same user that has nothing to do with the session."""
    with subprocess.Popen(["/bin/sleep", "600"], env={"TOKEN": SECRET}) as process:
        yield process.pid
        alive = process.poll() is None
        process.kill()
    assert alive, "the outsider was killed"


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Make outsiders that listen."""
    made: list[Listener] = []

    def make(family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0), **options: Any) -> Listener:
        made.append(Listener(family, address, **options))
        return made[-1]

    yield make
    for listener in made:
        listener.socket.close()


@pytest.fixture(scope="session")
def compile_program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compile programs/NAME.c, once; skips the test when there is no gcc."""
    directory = tmp_path_factory.mktemp("compiled")

    def compile_one(name: str) -> Path:
        target = directory / name
        if not target.exists():
            if shutil.which("gcc") is None:
                pytest.skip("gcc is not installed")
            command = ["gcc", "-O1", "-pthread", "-o", str(target), str(PROGRAMS / f"{name}.c")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"gcc cannot compile {name}.c: {done.stderr.strip().splitlines()[-1]}")
        return target

    return compile_one


@pytest.fixture(scope="module")
def outsiders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outsiders]:
    """Everybody whom attempts may reach."""
    place = tmp_path_factory.mktemp("outsiders")
    (place / "workspace").mkdir()
    with Outsiders(place) as found:
        yield found


@pytest.fixture(scope="module")
def plan_on(outsiders: Outsiders, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int | None], Plan]:
    """The plan of the doctor's scope, here or on a host whose Landlock has another ABI."""
    place = tmp_path_factory.mktemp("plan")
    (place / "scope.yaml").write_text(scope_for(outsiders))

    def load(abi: int | None) -> Plan:
        return load_plan(
            place / "scope.yaml",
            workspace=Path(outsiders.outside.secret).parents[2],
            environment=dict(os.environ),
            evidence_root=place / "evidence",
            accept_gaps=WALL_NAMES,
            host=None if abi is None else find_host()._replace(landlock_abi=abi),
        )

    return load


@pytest.fixture(scope="module")
def plan(plan_on: Callable[[int | None], Plan]) -> Plan:
    """The plan of the doctor's scope."""
    return plan_on(None)
