"""In a stock container: Docker's default seccomp profile stands outside, and remit stands inside it all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stage import REMIT, Stage, is_sound, records

OUTER = Path(__file__).with_name("outer_filter.py")
TABLE = Path(__file__).parents[1] / "kernel" / "doctor" / "container.json"

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the outer filter is written for x86-64")


def contained(stage: Stage, *command: str, scope: Path | None = None) -> subprocess.CompletedProcess[str]:
    options = [] if scope is None else ["--scope", str(scope)]
    return subprocess.run(
        [sys.executable, str(OUTER), *REMIT, "run", *options, "--", *command],
        cwd=stage.workspace,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def header(stage: Stage) -> dict[str, Any]:
    (found,) = records(stage.evidence(), "session")
    return found


def test_the_outer_filter_refuses_what_docker_refuses() -> None:
    code = "import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.syscall({}, 0, 0, 0), ctypes.get_errno())"
    for number, error in ((272, 1), (425, 1), (438, 1), (435, 38), (321, 1)):  # unshare io_uring pidfd_getfd clone3 bpf
        said = subprocess.run(
            [sys.executable, str(OUTER), sys.executable, "-c", code.format(number)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.split() == ["-1", str(error)], number


def test_work_is_done_behind_walls_and_each_missing_piece_is_a_gap(stage: Stage) -> None:
    done = contained(stage, "sh", "-c", "echo built > out.txt; cat out.txt; mkdir d; mv out.txt d/; ls d; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "built\nout.txt\n", "")
    gaps = {gap["name"] for gap in header(stage)["gaps"]}
    assert {"sockets-not-taken", "refusals-unseen"} <= gaps
    is_sound(stage.evidence())


def test_the_doctor_finds_nothing_open_but_what_the_table_for_containers_says(stage: Stage) -> None:
    done = subprocess.run(
        [sys.executable, str(OUTER), *REMIT, "doctor", "--json"],
        cwd=stage.workspace,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {attempt["name"]: _row(attempt) for attempt in json.loads(done.stdout)["attempts"]}
    expected = json.loads(TABLE.read_text())
    # What a machine does not have cannot be tried there.
    skipped = {name for name, row in found.items() if row == "skipped"}
    assert {name: row for name, row in found.items() if name not in skipped} == {
        name: row for name, row in expected.items() if name not in skipped
    }


def _row(attempt: dict[str, Any]) -> str:
    return f"{attempt['result']} ({attempt['gap']})" if attempt["gap"] else str(attempt["result"])


def test_outside_files_and_addresses_stay_closed(stage: Stage) -> None:
    outside = stage.root / "outside"
    outside.write_text("untouched")
    script = f"""
import socket, json
said = {{}}
for name, act in {{
    "write": lambda: open({str(outside)!r}, "w"),
    "read": lambda: open({str(outside)!r}),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "listen": lambda: socket.socket().listen(),
}}.items():
    try:
        act()
        said[name] = "open"
    except OSError as problem:
        said[name] = problem.errno
print(json.dumps(said))
"""
    done = contained(stage, sys.executable, "-c", script)
    said = json.loads(done.stdout)
    assert "open" not in said.values(), said
    assert outside.read_text() == "untouched"
    refused = {record["kind"] for record in records(stage.evidence()) if record.get("refused")}
    assert {"open", "connect", "flow"} <= refused
    is_sound(stage.evidence())


def test_an_accepted_socket_is_not_ours_to_connect_and_the_refusal_says_why(stage: Stage) -> None:
    scope = stage.root / "scope.yaml"
    scope.write_text(
        "remit: 1\ntask: t\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
        "network: {connect: [{cidr: self, port: 1024-65535}], listen: [{cidr: self, port: 0-65535}]}\n"
    )
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].connect(server.getsockname())
"""
    done = contained(stage, sys.executable, "-c", code, scope=scope)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    (refused,) = [record for record in records(stage.evidence()) if record.get("refused")]
    assert refused["clause"].startswith("sockets-not-taken")
