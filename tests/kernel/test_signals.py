"""Where Landlock has no wall for signals, the supervisor sends the session's own and no other; honest work goes on."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator

import pytest
from attacks import Inside, is_running
from older import SCOPE, older_session


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with older_session(tmp_path_factory, abi=5) as inside:
        yield inside


def refused(inside: Inside) -> int:
    return sum(bool(record.get("refused")) for record in inside.records())


@pytest.fixture
def undisturbed(older: Inside) -> Iterator[Inside]:
    """The session, in which nothing must be refused."""
    before = refused(older)
    yield older
    assert refused(older) == before


def test_the_plan_says_who_holds_them(older: Inside) -> None:
    walls = {wall["name"]: wall["strength"] for wall in older.header()["walls"]}
    assert walls["signals"] == "supervisor"


def test_children_are_signalled_by_number_and_by_descriptor(undisturbed: Inside) -> None:
    result = undisturbed.do("signals.py", "to_children").result
    assert result == {"kill": 15, "descriptor": 15, "queued": 1, "ended": 0, "reaped": errno.ESRCH}


def test_threads_of_ones_own_are_signalled(undisturbed: Inside) -> None:
    assert undisturbed.do("signals.py", "to_threads").result == ["SIGUSR1", "SIGUSR2", "SIGURG"]


def test_a_group_is_signalled_as_a_whole(undisturbed: Inside) -> None:
    assert undisturbed.do("signals.py", "to_its_group").result == ["itself", "child -15"]


def test_an_open_file_signals_who_asked(undisturbed: Inside) -> None:
    assert undisturbed.do("signals.py", "of_a_file").result == {"got": [29], "blocking": False}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 60 & kill %1; wait %1; echo $?", "143"),
        ("set -m; sleep 60 | sleep 60 & kill -INT %1; wait; echo $?", "0"),
        ("timeout 0.2 sleep 60; echo $?", "124"),
        ("timeout -s KILL 0.2 sh -c 'sleep 60; true'; echo $?", "137"),
        ("set -m; sleep 60 & kill -- -$!; wait $!; echo $?", "143"),
        ("trap 'echo got' USR1; kill -USR1 0; echo after", "got after"),
        ("trap 'echo got' USR1; kill -USR1 $$; echo after", "got after"),
        ("(kill -KILL $BASHPID); echo $?", "137"),
        ("kill -0 $$ && kill -0 $PPID; echo $?", "1"),
        ("echo 'all: ; @sleep 0.1; kill -TERM $$PPID; exec sleep 60' > Makefile; make all 2>/dev/null; echo $?", "143"),
    ],
)
def test_shells_and_their_tools_go_on(older: Inside, script: str, said: str) -> None:
    before = refused(older)
    with older.session.step(f"shell-{len(older.records())}", tool="bash"):
        done = older.session.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == said.split(), done.stderr
    # The shell's own parent is the zygote, which is no process of the session's.
    assert refused(older) - before == ("kill -0 $PPID" in script)


@pytest.mark.parametrize(("code", "status"), [("os.abort()", -6), ("os.kill(os.getpid(), 9)", -9)])
def test_a_program_ends_itself(undisturbed: Inside, code: str, status: int) -> None:
    assert undisturbed.run([sys.executable, "-c", f"import os; {code}"]).status == status


def test_an_outsider_is_not_signalled_and_it_is_recorded(older: Inside, outsider: int) -> None:
    attempt = older.do("neighbours.py", "signal_it", outsider)
    assert attempt.result == dict.fromkeys(attempt.result, errno.EPERM)
    assert len(attempt.refusals("signal", wall="signals", target=outsider)) == len(attempt.result)
    assert older.do("signals.py", "to_group", os.getpgid(outsider)).result == errno.EPERM
    assert is_running(outsider)


@pytest.mark.parametrize("name", ["supervisor", "zygote", "deputy", "launcher"])
def test_neither_is_any_process_of_remits_own(older: Inside, name: str) -> None:
    pid = int(older.header()[name])
    attempt = older.do("neighbours.py", "signal_it", pid)
    assert attempt.result == dict.fromkeys(attempt.result, errno.EPERM)
    assert is_running(pid)


def test_a_signal_to_everybody_reaches_the_session_alone(older: Inside, outsider: int) -> None:
    older.do("neighbours.py", "signal_everybody")
    assert is_running(outsider)
    for name in ("supervisor", "zygote", "deputy", "launcher"):
        assert is_running(older.header()[name])


def test_no_open_file_signals_an_outsider(older: Inside, outsider: int) -> None:
    attempt = older.do("neighbours.py", "signal_by_descriptor", outsider)
    assert attempt.result == errno.EPERM
    assert is_running(outsider)


def test_a_descriptor_that_is_changed_meanwhile_reaches_no_outsider(older: Inside, outsider: int) -> None:
    """SIGUSR1 ends a child as well as an outsider; afterwards the child is a zombie, and signalled without effect."""
    counts = older.do("signals.py", "swap", outsider).result
    assert counts["sent"] > 0 < counts["refused"]
    assert is_running(outsider)


def test_where_signals_break_off_questions_the_sender_gets_its_own_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Before 5.19 the kernel would begin the call of a sender that is among those it sends to again, for ever."""
    with older_session(tmp_path_factory, abi=5, breakable=True) as inside:
        assert inside.header()["host"]["questions_killable"] is False
        assert inside.do("signals.py", "to_its_group").result == ["itself", "child -15"]


def test_in_a_process_namespace_of_their_own_numbers_are_their_own(
    tmp_path_factory: pytest.TempPathFactory, outsider: int
) -> None:
    script = "sleep 60 & kill $!; wait $!; echo $?; kill -9 -1; echo alone"
    with older_session(tmp_path_factory, abi=5, scope=f"{SCOPE}nested-sandbox: userns\n") as inside:
        command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "sh", "-c", script]
        with inside.session.step("nested", tool="unshare"):
            done = inside.session.run(command, capture_output=True, text=True, timeout=60)
        if "unshare failed" in done.stderr:
            pytest.skip(f"no namespaces to be had: {done.stderr.strip()}")
        assert done.stdout.split() == ["143", "alone"], done.stderr
        assert not [record for record in inside.records() if record["kind"] == "signal"]
        assert inside.run(["bash", "-c", f"kill -9 {outsider}"]).status == 1
    assert is_running(outsider)
