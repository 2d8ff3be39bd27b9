"""What a thread changes while a question is judged never yields a denied file, peer or program, and the evidence does
not lie.

Each race is run against the real thing many times, and must be seen to have gone both ways, else it would show nothing.
REMIT_TEST_RACES says how often; by hand, 100 000.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks import PROGRAMS, Attempt, Inside, Listener, Open

Compile = Callable[[str], Path]
Listen = Callable[..., Listener]

TRIES = int(os.environ.get("REMIT_TEST_RACES", "10000"))
pytestmark = pytest.mark.timeout(60 + TRIES // 50)


def race(inside: Inside, program: Path, *words: object) -> Attempt:
    """Run one race inside, TRIES times."""
    place = inside.workspace / program.name
    place.write_bytes(program.read_bytes())
    place.chmod(0o755)
    attempt = inside.race([str(place), *map(str, words)], TRIES)
    assert attempt.status == 0, attempt.errors
    return attempt


def went_both_ways(result: dict[str, int], allowed: str) -> bool:
    """Each outcome at least once in a thousand."""
    return min(result[allowed], result["refused"]) >= TRIES // 1000


@pytest.mark.parametrize("act", ["path", "flags", "descriptor", "link"])
def test_an_open_never_yields_a_file_that_is_not_granted(
    inside: Inside, outside: Path, compile_program: Compile, act: str
) -> None:
    """Whatever the record may predict, the kernel decides on the path that it walks itself."""
    own = inside.workspace / "raced"
    own.mkdir(exist_ok=True)
    (own / "file").write_text("")
    before = (outside / "file").read_text()
    attempt = race(inside, compile_program("open_race"), act, own, outside)
    assert attempt.result["wrong"] == 0, attempt.result
    assert went_both_ways(attempt.result, "opened"), attempt.result
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == before
    opens = [r for r in attempt.records if r["kind"] == "open"]
    assert {(r["path"], r["refused"]) for r in opens} == {(f"{own}/file", False), (f"{outside}/file", True)}
    assert all(r["predicted"] for r in opens)


FLIPS = ["port", "host", "family", "length", "descriptor", "close"]


@pytest.fixture(scope="module")
def granted_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


@pytest.fixture(scope="module")
def granted(open_session: Open, granted_port: int) -> Inside:
    cidrs = ("127.0.0.1/32", "::1/128")
    grants = ", ".join(f"{{cidr: '{cidr}', port: {granted_port}}}" for cidr in cidrs)
    return open_session(f"network: {{connect: [{grants}]}}\n")


@contextlib.contextmanager
def accepting(family: int, address: Any) -> Iterator[None]:
    """Somebody who takes whatever comes, so that no connect has to wait for room."""
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
        child = os.fork()
        if child == 0:
            while True:
                listener.accept()[0].close()
        try:
            yield
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize("act", [*FLIPS, "v6 port", "v6 host", "v6 family"])
def test_a_connect_never_reaches_an_address_that_is_not_granted(
    granted: Inside, granted_port: int, listen: Listen, compile_program: Compile, act: str
) -> None:
    six = act.startswith("v6") and act != "v6 host"
    family, here = (socket.AF_INET6, "::1") if six else (socket.AF_INET, "127.0.0.1")
    forbidden = listen(family, (here, 0))
    neighbour = listen(socket.AF_INET, ("127.0.0.2", granted_port))
    with accepting(family, (here, granted_port)):
        attempt = race(granted, compile_program("connect_race"), act, granted_port, forbidden.port)
    assert attempt.result["wrong"] == 0, attempt.result
    assert not forbidden.reached()
    assert not neighbour.reached()
    connects = Counter(
        (r["address"], r["port"], r["refused"])
        for r in attempt.records
        if r["kind"] == "connect" and r["errno"] != errno.EISCONN
    )
    shown = "::ffff:127.0.0.1" if act == "v6 host" else here
    through = connects.pop((shown, granted_port, False), 0)
    assert not [key for key in connects if not key[2] and key[0] != "unix"], connects
    if act in ("port", "host", "v6 port", "v6 host"):
        # A connect is done on the copy that was judged, so that what happened is what is recorded, to the last one.
        assert through == attempt.result["reached"], attempt.result
        assert went_both_ways(attempt.result, "reached"), attempt.result
    else:
        # A socket that comes back to its number is connected already, and reaches its peer without another connect.
        again = sum(r["kind"] == "connect" and r["errno"] == errno.EISCONN for r in attempt.records)
        assert through + again >= attempt.result["reached"] > 0, attempt.result
        assert attempt.result["reached"] < TRIES or attempt.result["odd"] > 0, attempt.result


@pytest.mark.parametrize("act", ["symlink", "text", "family", "relink", "bind"])
def test_a_path_never_leads_to_an_outsiders_socket(
    inside: Inside, listen: Listen, compile_program: Compile, act: str
) -> None:
    """The outsider listens in the workspace, where the agent may rename whatever is there."""
    holder = os.open(inside.workspace, os.O_PATH)  # sun_path is short, the workspace's path may be long
    listener = listen(socket.AF_UNIX, f"/proc/self/fd/{holder}/outsider-{act}.sock")
    os.close(holder)
    attempt = race(inside, compile_program("unix_race"), act, f"own-{act}.sock", f"outsider-{act}.sock")
    assert attempt.result["wrong"] == 0, attempt.result
    assert not listener.reached()
    if act in ("symlink", "text", "relink"):
        assert went_both_ways(attempt.result, "reached"), attempt.result
        connects = Counter(
            r["refused"] for r in attempt.records if r["kind"] == "connect" and r["errno"] in (0, errno.EACCES)
        )
        assert connects == {False: attempt.result["reached"], True: attempt.result["refused"]}
    else:
        assert attempt.result["refused"] >= TRIES // 1000, attempt.result


@pytest.mark.parametrize("act", ["bind", "listen", "connect", "sendto"])
def test_swapping_the_descriptor_under_a_call_gains_nothing(inside: Inside, listen: Listen, act: str) -> None:
    """A netlink socket, which may be bound, or a unix one, which may connect, gives way to a TCP one and back."""
    listener = listen()
    program = [sys.executable, "-B", f"{inside.workspace}/swaps.py", act, str(listener.port)]
    attempt = inside.race(program, TRIES // 4)
    assert attempt.result["gained"] == 0, attempt.result
    assert len(attempt.result["errors"]) >= 2, attempt.result
    assert not listener.reached()
    assert [r for r in attempt.records if r["kind"] in ("bind", "connect") and r["port"] and not r["refused"]] == []


def test_the_recorded_program_and_arguments_are_those_that_ran(inside: Inside, compile_program: Compile) -> None:
    """The path, an argument and the environment are swapped while execve is judged."""
    race_program = inside.workspace / "exec_race"
    race_program.write_bytes(compile_program("exec_race").read_bytes())
    race_program.chmod(0o755)
    images = {10: inside.workspace / "first", 20: inside.workspace / "other"}
    for status, place in images.items():
        command = ["gcc", "-static", f"-DSTATUS={status}", "-o", str(place), str(PROGRAMS / "exit_with.c")]
        subprocess.run(command, check=True)
    inside.new_records()
    with inside.session.step("exec race", tool="attack"):
        done = inside.session.run(
            [str(race_program), str(images[10]), str(images[20]), str(TRIES)], capture_output=True, text=True
        )
    ended = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(ended) == TRIES
    assert set(dict.fromkeys(status for _, status in ended)) == {10, 11, 20, 21}, "the race never went the other way"
    # A number may come round: the processes are taken in their order, and each one's own record is the next of its pid.
    recorded: dict[int, list[tuple[str, list[str]]]] = {}
    for record in inside.new_records():
        if record["kind"] == "exec" and not record["refused"] and record["image"] != str(race_program):
            pid = int(record["process"].split(":")[0])
            recorded.setdefault(pid, []).append((record["image"], record["arguments"][1:]))
    expected: dict[int, list[tuple[str, list[str]]]] = {}
    for pid, status in ended:
        which = str(images[status // 10 * 10]), ["ab"[status % 10]]
        expected.setdefault(pid, []).append(which)
    wrong = {pid: (recorded.get(pid), expected[pid]) for pid in expected if recorded.get(pid) != expected[pid]}
    assert wrong == {}
