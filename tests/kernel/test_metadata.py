"""Mode, owner, times and attributes change where the scope lets files be written, as ever, and nowhere else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import PROGRAMS, Inside
from test_races import TRIES

from remit.kernel.libc import MACHINE

pytestmark = pytest.mark.timeout(60 + TRIES // 50)


def test_inside_all_of_it_is_as_it_is_without_walls(inside: Inside, tmp_path: Path) -> None:
    if MACHINE != "x86_64":
        pytest.skip("the program makes some calls by their numbers on x86-64")
    (inside.workspace / "all").mkdir()
    bare = subprocess.run(
        [sys.executable, "-B", str(PROGRAMS / "metadata.py"), "all", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    attempt = inside.do("metadata.py", "all", inside.workspace / "all")
    expected = json.loads(bare.stdout)["result"]
    assert expected["chmod"] == expected["futimens"] == "done"
    assert attempt.result == expected
    assert attempt.refusals("change") == []


@pytest.fixture
def readable() -> Iterator[Path]:
    """A file of this user's that the scope grants for reading: of the environment that Python runs from."""
    place = Path(sys.prefix) / f"remit-test-readable-{os.getpid()}"
    if not os.access(sys.prefix, os.W_OK) or sys.prefix == sys.base_prefix:
        pytest.skip("there is no environment of this user's own")
    place.mkdir(exist_ok=True)
    (place / "file").write_text("")
    (place / "file").chmod(0o644)
    yield place
    (place / "file").unlink()
    place.rmdir()


@pytest.mark.parametrize("act", ["path", "link", "number"])
def test_what_changes_while_it_is_judged_leads_to_no_other_file(inside: Inside, readable: Path, act: str) -> None:
    place = inside.workspace / f"raced-{act}"
    own = place / "own"
    own.mkdir(parents=True)
    (own / "file").write_text("")
    program = [sys.executable, "-B", f"{inside.workspace}/metadata.py", "race", act, own, readable]
    shell = f'cd {place} && exec {" ".join(map(str, program))} "$1"'
    attempt = inside.race(["sh", "-c", shell, "sh"], TRIES)
    assert attempt.status == 0, attempt.errors
    assert min(attempt.result["done"], attempt.result["refused"]) >= TRIES // 1000, attempt.result
    assert (readable / "file").stat().st_mode & 0o777 == 0o644
    assert (own / "file").stat().st_mode & 0o777 == 0o600
    refused = attempt.refusals("change", operation="chmod", wall="metadata", errno=errno.EPERM)
    assert len(refused) == attempt.result["refused"]
    assert {record["path"] for record in refused} == {str(readable / "file")}


def test_whom_the_users_terminals_are_open_to_is_not_the_agents_to_say(inside: Inside) -> None:
    leader, follower = os.openpty()
    try:
        name = os.ttyname(follower)
        mode = os.stat(name).st_mode
        attempt = inside.run(["chmod", "666", name])
        assert attempt.status != 0
        assert len(attempt.refusals("change", operation="chmod", path=name)) == 1
        assert os.stat(name).st_mode == mode
    finally:
        os.close(leader)
        os.close(follower)
