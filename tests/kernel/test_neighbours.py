"""Other processes of the same user are neither seen into, steered, signalled nor traced, remit's own least of all."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import Inside, is_running, read_status

from remit.kernel import landlock

REFUSED = (errno.EACCES, errno.EPERM)
OURS = ("supervisor", "zygote", "deputy", "launcher", "engine", "notary")


@pytest.fixture(params=["outsider", *OURS])
def target(request: pytest.FixtureRequest, inside: Inside) -> int:
    """An outsider, and every process that remit itself consists of."""
    if request.param == "outsider":
        pid: int = request.getfixturevalue("outsider")
        return pid
    if request.param in ("engine", "notary"):
        return find_child(inside, f"remit-{request.param}")
    return int(inside.header()[request.param])


def find_child(inside: Inside, name: str) -> int:
    launcher = inside.header()["launcher"]
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    (found,) = [int(pid) for pid in children if read_status(int(pid))["Name"] == name]
    return found


@pytest.mark.parametrize("way", ["/proc/{}/mem", "../../../../../../proc/{}/mem"])
def test_who_reaches_for_the_supervisor_is_on_record_for_that(inside: Inside, way: str) -> None:
    """It resolves names itself, and would take itself for the caller that asked for its own."""
    supervisor = inside.header()["supervisor"]
    attempt = inside.do("files.py", "open_with", os.O_WRONLY, way.format(supervisor))
    assert attempt.errno == errno.EACCES
    (refusal,) = attempt.refusals("open")
    assert refusal["path"] == f"/proc/{supervisor}/mem"
    assert refusal["outsider"] is True
    own = inside.do("files.py", "open_with", os.O_WRONLY, "/proc/self/mem")
    assert [r.get("outsider") for r in own.records if r["kind"] == "open" and r["path"].endswith("/mem")] == [None]


def test_what_proc_shows_only_to_its_own_is_closed(inside: Inside, target: int) -> None:
    result = inside.do("neighbours.py", "look", target).result
    if landlock.abi() < 6:
        result.pop("timers")  # Linux 6.1 shows them to anybody
    assert {name: error for name, error in result.items() if error not in REFUSED} == {}


@pytest.mark.parametrize("target", ["outsider", "supervisor", "deputy", "launcher", "engine", "notary"], indirect=True)
def test_it_cannot_be_signalled(inside: Inside, target: int) -> None:
    result = inside.do("neighbours.py", "signal_it", target).result
    assert result == dict.fromkeys(result, errno.EPERM)
    assert is_running(target)


def test_its_limits_and_scheduling_are_left_alone(inside: Inside, target: int) -> None:
    before = (os.sched_getaffinity(target), os.getpriority(os.PRIO_PROCESS, target), os.sched_getscheduler(target))
    attempt = inside.do("neighbours.py", "steer", target)
    assert attempt.result == dict.fromkeys(attempt.result, errno.EPERM)
    assert len(attempt.refusals("signal")) == len(attempt.result)
    after = (os.sched_getaffinity(target), os.getpriority(os.PRIO_PROCESS, target), os.sched_getscheduler(target))
    assert after == before


def test_it_cannot_be_traced_nor_its_memory_or_descriptors_taken(inside: Inside, target: int) -> None:
    attempt = inside.do("neighbours.py", "trace", target)
    assert {name: error for name, error in attempt.result.items() if error not in REFUSED} == {}
    assert len(attempt.refusals("privilege")) >= len(attempt.result) - 1
    assert read_status(target)["TracerPid"] == "0"


def test_no_descriptor_of_ours_signals_an_outsider(inside: Inside, outsider: int) -> None:
    inside.do("neighbours.py", "signal_by_descriptor", outsider)
    assert is_running(outsider)


def test_a_signal_to_everybody_reaches_the_session_alone(inside: Inside, outsider: int) -> None:
    """SIGUSR1 would end any process that has no handler for it."""
    inside.do("neighbours.py", "signal_everybody")
    assert is_running(outsider)
    for name in ("supervisor", "zygote", "deputy", "launcher"):
        assert is_running(inside.header()[name])


def test_what_was_started_before_can_be_signalled_and_seen(inside: Inside) -> None:
    """All programs of a session are in one domain, whichever step started them."""
    command = [sys.executable, "-B", f"{inside.workspace}/neighbours.py", "stay"]
    with inside.session.step("early", tool="attack"):
        program = inside.session.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        pid = int(program.stdout.readline())
    seen = inside.do("neighbours.py", "look", pid).result
    assert (seen["environ"], seen["exe"], seen["descriptor"]) == (0, 0, 0)
    signalled = inside.do("neighbours.py", "signal_it", pid).result
    assert signalled["kill"] == 0
    assert program.wait() == -9


def test_terminal_input_is_not_pushed(inside: Inside) -> None:
    attempt = inside.do("neighbours.py", "push_input")
    assert attempt.result == {"sti": errno.EPERM, "dirty": errno.EPERM, "linux": errno.EPERM, "size": 0}
    assert len(attempt.refusals("privilege", operation="ioctl")) == 3


def test_the_callers_environment_is_not_seen_in_a_newborn_program(inside: Inside) -> None:
    """Between fork and exec, a program is a copy of remit's own process, credentials of its environment included."""
    command = [sys.executable, "-B", f"{inside.workspace}/neighbours.py", "watch_for_newborns", "2"]
    with inside.session.step("watch", tool="attack"):
        watcher = inside.session.popen(command, stdout=subprocess.PIPE, text=True)
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "watching\n"
        born = 0
        while watcher.poll() is None:
            inside.session.run(["/bin/true"])
            born += 1
        assert '"result": []' in watcher.stdout.read()
    assert born > 20


def test_the_agents_ancestors_are_the_zygote_the_supervisor_and_the_launcher(inside: Inside) -> None:
    header = inside.header()
    found = inside.do("neighbours.py", "ancestors").result
    assert found[:3] == [header["zygote"], header["supervisor"], header["launcher"]]


def test_the_agent_is_the_first_to_go_when_memory_runs_out(inside: Inside) -> None:
    attempt = inside.do("files.py", "read", "/proc/self/oom_score_adj")
    supervisor = int(Path(f"/proc/{inside.header()['supervisor']}/oom_score_adj").read_text())
    assert int(attempt.result) > supervisor


def test_core_dumps_are_off(inside: Inside) -> None:
    attempt = inside.do("files.py", "read", "/proc/self/limits")
    (line,) = [line for line in attempt.result.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]
    assert resource.getrlimit(resource.RLIMIT_CORE) is not None
