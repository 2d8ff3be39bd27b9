"""Under pressure every question is answered, and rightly; the evidence is whole, and control is served."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import Attempt, Inside, Open

from remit.evidence.chain import verify
from remit.evidence.reader import read_records
from remit.supervisor.rate import CLAUSE

Compile = Callable[[str], Path]

HEAVY = int(os.environ.get("REMIT_TEST_PRESSURE", "1"))  # multiplies; by hand, 10


@pytest.fixture
def press(inside: Inside, compile_program: Compile) -> Callable[..., Attempt]:
    """Run an act of pressure.c inside; everything must come out right."""
    place = install(inside, compile_program)

    def run(act: str, times: int) -> Attempt:
        attempt = inside.run([str(place), act, str(times)], timeout=100)
        assert attempt.status == 0, (attempt.errors, *map(str, attempt.records[-3:]))
        assert (attempt.result["right"], attempt.result["wrong"]) == (times, 0), (attempt.result, attempt.errors)
        assert verify(inside.session.evidence).whole
        return attempt

    return run


def install(inside: Inside, compile_program: Compile) -> Path:
    place = inside.workspace / "pressure"
    if not place.exists():
        place.write_bytes(compile_program("pressure").read_bytes())
        place.chmod(0o755)
    return place


def test_every_one_of_many_refused_questions_is_answered_and_recorded(press: Callable[..., Attempt]) -> None:
    attempt = press("refused", 10_000)
    assert len(attempt.refusals("privilege", operation="ptrace", errno=errno.EPERM)) == 10_000
    print(f"refused questions: {10_000 / attempt.result['seconds']:.0f} a second")


def test_every_one_of_many_granted_questions_is_answered_and_recorded(press: Callable[..., Attempt]) -> None:
    attempt = press("granted", 20_000 * HEAVY)
    opens = [r for r in attempt.records if r["kind"] == "open"]
    assert len(opens) == 20_000 * HEAVY
    assert not any(r["refused"] for r in opens)
    print(f"granted questions: {20_000 * HEAVY / attempt.result['seconds']:.0f} a second")


def test_thousands_of_threads_each_get_their_answer(press: Callable[..., Attempt]) -> None:
    attempt = press("threads", 5000)
    refusals = attempt.refusals("privilege", operation="ptrace")
    assert len(refusals) == 5000
    assert len({r["process"] for r in refusals}) == 1  # threads are not processes


@pytest.mark.parametrize("act", ["storm", "restarting storm"])
def test_a_storm_of_signals_neither_breaks_nor_repeats_a_question(press: Callable[..., Attempt], act: str) -> None:
    attempt = press(act, 200 * HEAVY)
    assert attempt.result["signals"] > 200, attempt.result
    if act == "restarting storm":
        assert attempt.result["interrupted"] == 0, attempt.result
    counts = Counter((r["kind"], r.get("operation"), r["refused"]) for r in attempt.records if "refused" in r)
    each = (
        *(("bind", "bind", False), ("bind", "listen", False), ("privilege", "ptrace", True)),
        *(("connect", None, False), ("connect", None, True), ("flow", "socket", True)),
    )
    assert {key: counts[key] for key in each} == dict.fromkeys(each, 200 * HEAVY)
    programs = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert len(programs) == 200 * HEAVY
    assert all(r["confirmed"] for r in programs)


def test_a_thread_that_is_not_the_leader_runs_a_program(press: Callable[..., Attempt]) -> None:
    attempt = press("thread exec", 100)
    programs = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert len(programs) == 100, [r for r in programs if [p["process"] for p in programs].count(r["process"]) > 1]
    assert all(r["confirmed"] and r["arguments"] == ["true", "from a thread"] for r in programs)


def test_children_by_vfork_are_followed(press: Callable[..., Attempt]) -> None:
    attempt = press("vforks", 200)
    programs = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert len(programs) == 100
    forks = [r for r in attempt.records if r["kind"] == "fork" and r["via"] != "spawn"]
    assert len(forks) == 200
    assert all(r["parent"] for r in forks)


def test_a_process_whose_leader_has_ended_is_served(press: Callable[..., Attempt]) -> None:
    press("leaderless", 20)


def test_a_process_may_die_at_any_moment_of_a_question(inside: Inside, press: Callable[..., Attempt]) -> None:
    press("deaths", 1000 * HEAVY)
    press("refused", 100)  # and the next one is served as ever
    header = inside.header()
    # Nobody was recorded that is not the session's: each process has its fork, and each that ended its exit.
    records = inside.records()
    born = {r["process"] for r in records if r["kind"] == "fork"}
    assert {r["process"] for r in records if r.get("process")} <= born
    assert not {str(header[name]) for name in ("supervisor", "deputy", "launcher")} & {p.split(":")[0] for p in born}


def test_thousands_of_live_processes_are_followed(open_session: Open, compile_program: Compile) -> None:
    count = 2000
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < count + 200:
        pytest.skip(f"the hard limit of open files is {limit}")
    inside = open_session("processes: {at-most: 4000}\n")
    place = install(inside, compile_program)
    with inside.session.step("many", tool="attack"):
        program = inside.session.popen(
            [str(place), "processes", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == f"made {count}\n"
        # All there at once: a freeze reaches every one of them, and control is served.
        assert inside.session.freeze() > count
        assert inside.session.resume() > count
        program.stdin.write("\n")
        program.stdin.close()
        assert f'"right": {count}' in program.stdout.read()
    records = inside.records()
    assert len([r for r in records if r["kind"] == "fork"]) == count + 1
    assert verify(inside.session.evidence).whole


def remit_run(workspace: Path, evidence: Path, scope: Path, *command: str, before: str = "") -> tuple[int, str, str]:
    """`remit run` with an evidence directory of its own, after a shell command; status, output, errors."""
    remit = os.path.join(os.path.dirname(sys.executable), "remit")
    words = [remit, "run", "--scope", str(scope), "--evidence", str(evidence), "--", *command]
    done = subprocess.run(
        ["sh", "-c", f'{before}exec "$@"', "sh", *words],
        cwd=workspace,
        input="\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def scope(tmp_path: Path) -> Path:
    path = tmp_path / "scope.yaml"
    path.write_text(
        "remit: 1\ntask: pressure\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
        "processes: {at-most: 4000}\n"
    )
    return path


def test_where_descriptors_are_short_forks_are_refused_and_nothing_breaks(
    inside: Inside, compile_program: Compile, tmp_path: Path, scope: Path
) -> None:
    """256 descriptors hold fewer processes than the scope grants: that is said in every refusal."""
    place = install(inside, compile_program)
    status, said, errors = remit_run(
        inside.workspace, tmp_path / "evidence", scope, str(place), "processes", "500", before="ulimit -n 256; "
    )
    assert status == 0, errors
    (made,) = map(int, re.findall(r"made (\d+)", said))
    assert 64 < made < 256
    assert f'"right": {made}' in said
    refusals = [r for r in read_records(tmp_path / "evidence") if r["kind"] == "privilege"]
    assert {(r["errno"], r["wall"]) for r in refusals} == {(errno.EAGAIN, "processes")}
    assert all("ulimit -n" in r["clause"] for r in refusals)
    assert verify(tmp_path / "evidence").closed


def test_numbers_of_processes_that_come_round_are_told_apart(
    inside: Inside, compile_program: Compile, tmp_path: Path, scope: Path
) -> None:
    """In a pid namespace with few numbers, where each is used many times; pid_max is a namespace's own since 6.14."""
    inner = "echo 350 > /proc/sys/kernel/pid_max 2>/dev/null && "
    test = subprocess.run(
        ["unshare", "-Urpf", "--mount-proc", "sh", "-c", f"{inner}cat /proc/sys/kernel/pid_max"],
        capture_output=True,
        text=True,
        check=False,
    )
    if test.stdout != "350\n" or Path("/proc/sys/kernel/pid_max").read_text() == "350\n":
        pytest.skip(f"no pid namespace with a pid_max of its own: {test.stderr.strip()}")
    place = install(inside, compile_program)
    wrapped = f'exec unshare -Urpf --mount-proc sh -c \'{inner}"$@"\' sh "$@"; '
    status, said, errors = remit_run(
        inside.workspace, tmp_path / "evidence", scope, str(place), "vforks", "1500", before=wrapped
    )
    assert status == 0, errors
    assert '"right": 1500' in said
    records = list(read_records(tmp_path / "evidence"))
    (command,) = [r["process"] for r in records if r["kind"] == "fork" and r["via"] == "spawn"]
    forks = [r for r in records if r["kind"] == "fork" and r["via"] != "spawn"]
    assert len(forks) == 1500
    assert {r["parent"] for r in forks} == {command}
    numbers = Counter(r["process"].split(":")[0] for r in forks)
    assert max(numbers.values()) > 3, "no number came round"
    ran = Counter(r["process"] for r in records if r["kind"] == "exec" and r["image"].endswith("/true"))
    assert sum(ran.values()) == 750
    assert verify(tmp_path / "evidence").closed


def test_what_is_mounted_into_the_workspace_is_recorded_where_it_is_seen(
    inside: Inside, outside: Path, tmp_path: Path, scope: Path
) -> None:
    bound = inside.workspace / "bound"
    bound.mkdir()
    wrapped = f'exec unshare -Urm sh -c \'mount --bind {outside} {bound} && "$@"\' sh "$@"; '
    if subprocess.run(["unshare", "-Urm", "true"], check=False).returncode != 0:
        pytest.skip("no user namespaces")
    command = ["sh", "-c", f"echo inside > {bound}/made"]
    status, _, errors = remit_run(inside.workspace, tmp_path / "evidence", scope, *command, before=wrapped)
    assert status == 0, errors
    assert (outside / "made").read_text() == "inside\n"
    opens = [(r["path"], r["refused"]) for r in read_records(tmp_path / "evidence") if r["kind"] == "open"]
    assert opens == [(f"{bound}/made", False)]


def test_parked_connects_hold_up_nobody_and_are_given_up_with_their_callers(open_session: Open) -> None:
    """64 connects to somebody who does not answer: 16 workers wait, 48 callers are told to try again, and the rest of
    the session, and control, goes on; when the callers die, the workers are free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        inside = open_session(f"network: {{connect: [{{cidr: 127.0.0.1/32, port: {port}}}]}}\n")
        held = []
        while True:  # until there is no room left
            held.append(socket.socket())
            held[-1].setblocking(False)
            held[-1].connect_ex(("127.0.0.1", port))
            if len(held) > 4:
                break
        for _ in range(2):
            attempt = inside.do("network.py", "many_waiting", "127.0.0.1", port, 64)
            assert attempt.result == [errno.EAGAIN] * 48
            assert inside.do("network.py", "unix_own", "@free").result == "hello"
        with inside.session.step("parked", tool="attack"):
            command = [sys.executable, "-B", f"{inside.workspace}/network.py", "many_parked", "127.0.0.1", str(port)]
            program = inside.session.popen(command, stdout=subprocess.PIPE, text=True)
            assert program.stdout is not None
            assert program.stdout.readline() == "parked\n"
            assert inside.session.freeze() >= 17
            assert inside.session.resume() >= 17
            assert inside.do("calls.py", "dumpable").errno == 0
            program.kill()
            program.wait()
        for end in held:
            end.close()
    assert verify(inside.session.evidence).whole


def flood(open_session: Open, compile_program: Compile, act: str, times: int) -> None:
    inside = open_session()
    place = install(inside, compile_program)
    with inside.session.step("flood", tool="attack"):
        inside.session.popen([str(place), act, str(times)])
        frozen = wait_for_response(inside, "freeze")
        assert (frozen["by"], frozen["clause"], frozen["finding"]) == ("rate-limit", CLAUSE, None)
        flooders = {r["process"] for r in inside.records() if r["kind"] == "fork"}
        assert frozen["process"] in flooders
        asked = [r for r in inside.records() if r["kind"] == "privilege" and r["operation"] == "ptrace"]
        assert len(asked) >= 25_000
        # Held: nothing is answered any more, until somebody says so.
        assert inside.session.resume() >= 1
        wait_for_response(inside, "resume")
        inside.session.kill()
    assert verify(inside.session.evidence).whole


def wait_for_response(inside: Inside, verdict: str) -> dict[str, object]:
    while True:
        for record in inside.records():
            if record["kind"] == "response" and record["verdict"] == verdict:
                return record


@pytest.mark.parametrize(("act", "times"), [("refused", 0), ("refused by many", 1000)])
def test_a_flood_is_held_also_when_it_comes_from_many(
    open_session: Open, compile_program: Compile, act: str, times: int
) -> None:
    flood(open_session, compile_program, act, times)


def test_real_work_is_not_held(open_session: Open, compile_program: Compile) -> None:
    """What asks most: a clone of many files, and a build of many."""
    inside = open_session()
    make = (
        'git init -q source && cd source && for i in $(seq 400); do echo "int f$i(void) { return $i; }" > $i.c; done'
        " && git add . && git -c user.name=a -c user.email=a@b commit -qm all && cd .."
        " && for i in 1 2 3; do git clone -q source clone$i; done"
        " && cd clone1 && for i in $(seq 40); do gcc -c $i.c || exit 1; done && ls *.o | wc -l"
    )
    with inside.session.step("work", tool="bash"):
        done = inside.session.run(["sh", "-c", make], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "40", done.stderr
    assert [r for r in inside.records() if r["kind"] == "response"] == []
