"""`remit doctor` proves every wall of this machine, says what is open by name, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doctor_table import differences, read_table, rows

from remit.attempts.attempt import HELD, OPEN, SKIPPED
from remit.attempts.catalogue import ATTEMPTS, BY_NAME
from remit.doctor.examination import examine
from remit.doctor.outsiders import Outsiders
from remit.scope.gaps import GAPS


@pytest.fixture(scope="module")
def doctor() -> subprocess.CompletedProcess[str]:
    """One run of `remit doctor --json`."""
    program = os.path.join(os.path.dirname(sys.executable), "remit")
    return subprocess.run([program, "doctor", "--json"], capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture(scope="module")
def said(doctor: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(doctor.stdout)
    return found


def test_every_attempt_is_made_and_what_is_open_has_the_name_of_a_gap(
    doctor: subprocess.CompletedProcess[str], said: dict[str, Any]
) -> None:
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert said["schema_version"] == 1
    assert [attempt["name"] for attempt in said["attempts"]] == [attempt.name for attempt in ATTEMPTS]
    assert [a["name"] for a in said["attempts"] if a["result"] == OPEN and a["gap"] not in GAPS] == []
    assert {a["result"] for a in said["attempts"]} <= {HELD, OPEN, SKIPPED}
    assert all(a["reason"] for a in said["attempts"])


def test_the_table_is_the_expected_one(said: dict[str, Any]) -> None:
    """As checked in for this kind of machine: a wall that newly holds is a change to note as well as one that opens."""
    missing = [ability["name"] for ability in said["abilities"] if not ability["present"]]
    missing = [name for name in missing if not name.startswith("cgroup: ")]  # no attempt hangs on those
    if missing:
        pytest.skip(f"the table is for a machine that has everything, and this one lacks: {', '.join(missing)}")
    expected, found = read_table("root" if os.getuid() == 0 else "user"), rows(said)
    # What a machine does not have cannot be tried there; the reason says so, and nothing else may be missing.
    skipped = {attempt["name"] for attempt in said["attempts"] if attempt["result"] == SKIPPED}
    tried = {name: row for name, row in found.items() if name not in skipped}
    assert list(differences(tried, {name: row for name, row in expected.items() if name not in skipped})) == []
    assert skipped <= MAY_BE_MISSING


MAY_BE_MISSING = {
    *("tcp-v6", "tcp-v4-mapped", "device", "device-ioctl", "set-user-id", "plans-write", "other-memory"),
    *("shared-memory", "messages", "semaphores", "look-into-engine", "trace-engine", "steer-engine"),
    *("look-into-notary", "trace-notary", "steer-notary"),
}


def test_nothing_is_left_behind() -> None:
    before = {place: set(os.listdir(place)) for place in ("/tmp", "/dev/shm")}
    examine(lambda attempt, result: None, [BY_NAME["udp"]])
    for place, names in before.items():
        left = [name for name in set(os.listdir(place)) - names if name.startswith("remit-doctor-")]
        assert [name for name in left if os.stat(f"{place}/{name}").st_uid == os.getuid()] == []


def test_as_text_each_attempt_has_its_line() -> None:
    program = os.path.join(os.path.dirname(sys.executable), "remit")
    done = subprocess.run([program, "doctor"], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert {word for line in lines for word in line.split()[1:2]} >= set(BY_NAME)
    assert lines[-1].startswith(f"{len(ATTEMPTS)} attempts: ")


def test_an_effect_outside_is_seen_whatever_was_said_inside(tmp_path: Path) -> None:
    """The outsiders' own witness: were an act to get through and an error still be claimed, it would show."""
    import socket

    with Outsiders(tmp_path) as outsiders:
        outside = outsiders.outside
        assert outsiders.changes() == []
        with socket.create_connection(("127.0.0.1", outside.tcp4)):
            pass
        Path(outside.directory, "file").write_text("changed")
        Path(outside.directory, "planted").mkdir()
        assert outsiders.changes() == ["a TCP listener was reached", "the tree outside was changed"]
        assert outsiders.changes() == []


def test_some_attempts_may_be_made_alone() -> None:
    results, header = examine(lambda attempt, result: None, [BY_NAME["udp"], BY_NAME["read"]])
    assert [result.result for result in results] == [HELD, HELD]
    assert header["task"] == "doctor"
