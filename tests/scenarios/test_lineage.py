"""Every program is charged to the step that caused it: a wrong `proven` is the one error that must never happen.

The truth is known because each program carries its step in an argument of its own, `truth:STEP:NUMBER`.
"""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import Stage, charged, is_sound, nobody_left, records, wait_for

import remit
from remit.clock.program import Program

DOUBLE_FORKS = int(os.environ.get("REMIT_TEST_DOUBLE_FORKS", "200"))
BACKGROUND_JOBS = int(os.environ.get("REMIT_TEST_BACKGROUND_JOBS", "50"))
KILLED_PARENTS = int(os.environ.get("REMIT_TEST_KILLED_PARENTS", "120"))
SHELL_STEPS = 20
TRUTH = re.compile(r"truth:(\w+):")

# Forks twice; the parent in between leaves in one of three ways. The grandchild acts once its step is long over.
FORK_TWICE = """\
import os, sys, time
step, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, last):
    child = os.fork()
    if child == 0:
        if number % 3 == 1:
            os.setsid()
        if os.fork() == 0:
            if number % 3 == 2:
                os.setsid()
            while not os.path.exists("released"):
                time.sleep(0.02)
            if number % 2 and os.fork():
                os._exit(0)
            os.execv("/usr/bin/touch", ["touch", f"done/truth:{step}:{number}"])
        os._exit(0)
    os.waitpid(child, 0)
"""
LATER = "while [ ! -e released ]; do sleep 0.05; done"
THREADS_THAT_FORK = """\
import os, subprocess, sys, threading
step = sys.argv[1]
def work(thread):
    for number in range(5):
        name = f"done/truth:{step}:{thread}.{number}"
        if thread % 3 == 0:
            subprocess.run(["/usr/bin/touch", name], check=True)
        elif thread % 3 == 1:
            os.waitpid(os.posix_spawn("/usr/bin/touch", ["touch", name], os.environ), 0)
        else:
            child = os.fork()
            if child == 0:
                os.execv("/usr/bin/touch", ["touch", name])
            os.waitpid(child, 0)
threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
last = threading.Thread(target=os.execv, args=("/usr/bin/touch", ["touch", f"done/truth:{step}:leader"]))
last.start(); last.join()
"""
# Parents that are killed while they fork: by now their children may have been met, or not.
KILL_PARENTS = """\
import os, random, signal, sys, time
step, count = sys.argv[1], int(sys.argv[2])
chance = random.Random(step)
for number in range(count):
    parent = os.fork()
    if parent == 0:
        for child in range(4):
            if os.fork() == 0:
                os.execv("/usr/bin/touch", ["touch", f"done/truth:{step}:{number}.{child}"])
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 2:
        time.sleep(chance.random() * 0.004)
        os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
"""


def judged(evidence: Path) -> Counter[str]:
    """How the programs with a known truth were charged; fails on a wrong `proven` and on a `likely` without it."""
    found: Counter[str] = Counter()
    for record, attribution in charged(evidence):
        if record["kind"] != "exec":
            continue
        truths = {match for word in record["arguments"] for match in TRUTH.findall(word)}
        if not truths:
            continue
        (truth,) = truths
        found[attribution.attribution] += 1
        if attribution.attribution == "proven":
            assert attribution.step == truth, f"wrongly proven: {record} {attribution}"
        elif attribution.attribution == "likely":
            assert truth in attribution.candidates, f"the true step is no candidate: {record} {attribution}"
    identities = [record["process"] for record in records(evidence, "fork")]
    assert len(identities) == len(set(identities)), "two processes share one identity"
    is_sound(evidence)
    return found


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """A stage with the directory in which every program leaves a file of its name."""
    (stage.workspace / "done").mkdir()
    return stage


def done(stage: Stage) -> int:
    return len(os.listdir(stage.workspace / "done"))


def report(record_property: Callable[[str, object], None], counts: Counter[str]) -> float:
    """Note the figures for whoever reads the test's results; returns the proven share."""
    share = counts["proven"] / counts.total()
    record_property("attribution", dict(counts))
    print(f"attribution: {dict(counts)}, proven {100 * share:.1f} %")
    return share


def test_double_forks_and_background_jobs_that_outlive_their_step(
    ready: Stage, record_property: Callable[[str, object], None]
) -> None:
    steps = 20
    jobs = ("{}", "nohup {}", "setsid {}", "({} &)", "bash -c {!r}", "exec 3</dev/zero; {}")
    with remit.Session(workspace=ready.workspace) as session:
        for index in range(steps):
            step = f"step_{index}"
            first, last = (DOUBLE_FORKS * n // steps for n in (index, index + 1))
            with session.step(step, tool="bash"):
                session.run([sys.executable, "-c", FORK_TWICE, step, str(first), str(last)], check=True)
                for number in range(*(BACKGROUND_JOBS * n // steps for n in (index, index + 1))):
                    job = f"{LATER}; touch done/truth:{step}:job-{number}"
                    shape = jobs[number % len(jobs)]
                    # nohup and setsid take a program, not a loop.
                    whole = shape.format(f"bash -c '{job}'" if "nohup" in shape or "setsid" in shape else job)
                    session.run(["bash", "-c", f"{{ {whole}; }} > /dev/null 2>&1 < /dev/null &"], check=True)
        assert done(ready) == 0, "a job did not wait until its step was over"
        with session.step("step_release", tool="bash"):
            session.run(["touch", "released"], check=True)
        wait_for(lambda: done(ready) == DOUBLE_FORKS + BACKGROUND_JOBS, "all double forks and jobs")
    counts = judged(session.evidence)
    assert counts.total() >= DOUBLE_FORKS + BACKGROUND_JOBS
    assert report(record_property, counts) >= 0.95
    nobody_left(session.evidence)


def test_parents_killed_at_random_moments_in_parallel_steps(
    ready: Stage, record_property: Callable[[str, object], None]
) -> None:
    steps = 6
    with remit.Session(workspace=ready.workspace) as session:

        def work(step: str) -> None:
            with session.step(step, tool="bash"):
                session.run([sys.executable, "-c", KILL_PARENTS, step, str(KILLED_PARENTS // steps)], check=True)

        workers = [threading.Thread(target=work, args=(f"step_{number}",)) for number in range(steps)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    counts = judged(session.evidence)
    assert counts.total() >= KILLED_PARENTS
    report(record_property, counts)
    nobody_left(session.evidence)


def test_threads_that_fork_spawn_and_exec(ready: Stage, record_property: Callable[[str, object], None]) -> None:
    steps = 4
    with remit.Session(workspace=ready.workspace) as session:

        def work(step: str) -> None:
            session.run([sys.executable, "-c", THREADS_THAT_FORK, step], step=step, check=True)

        for number in range(steps):
            with session.step(f"alone_{number}", tool="python"):
                work(f"alone_{number}")
        with session.step("both_1", tool="python"), session.step("both_2", tool="python"):
            workers = [threading.Thread(target=work, args=(f"both_{number}",)) for number in (1, 2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    assert done(ready) == (steps + 2) * 31
    counts = judged(session.evidence)
    assert counts == {"proven": (steps + 2) * 31}
    report(record_property, counts)


class PipeShell:
    """A bash that the harness speaks to through pipes, over many steps."""

    def __init__(self, session: remit.Session, arguments: list[str]) -> None:
        self.program: Program = session.popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> None:
        """Have one line done, and wait until it is."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{line}\necho said\n")
        self.program.stdin.flush()
        while (heard := self.program.stdout.readline()) != "said\n":
            assert heard, "the shell ended"

    def close(self) -> None:
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.close()
        self.program.stdout.read()
        self.program.stdout.close()


class DescriptorShell:
    """The same through one descriptor of ours and one of the shell's: a socket pair, or a terminal."""

    def __init__(self, session: remit.Session, ours: int, theirs: int) -> None:
        self.program = session.popen(["bash", "--norc"], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._ours = ours

    def tell(self, line: str) -> None:
        os.write(self._ours, f"{line}\necho sa''id\n".encode())
        heard = b""
        while b"said" not in heard:
            piece = os.read(self._ours, 4096)
            assert piece, "the shell ended"
            heard += piece

    def close(self) -> None:
        os.write(self._ours, b"exit\n")
        self.program.wait(30)
        os.close(self._ours)


def _plain(session: remit.Session) -> PipeShell:
    return PipeShell(session, ["bash"])


def _handed_on(session: remit.Session) -> PipeShell:
    """The program that was started ends at once; a background process of it keeps the pipe."""
    shell = PipeShell(session, ["bash", "-c", "bash <&0 & exit"])
    shell.program.wait(30)
    return shell


def _moved_away(session: remit.Session) -> PipeShell:
    """The pipe is not the standard input of the shell that reads it."""
    return PipeShell(session, ["bash", "-c", "exec 7<&0 < /dev/null; setsid --fork bash /dev/fd/7; :"])


def _socket_pair(session: remit.Session) -> DescriptorShell:
    ours, theirs = socket.socketpair()
    return DescriptorShell(session, ours.detach(), theirs.detach())


def _terminal(session: remit.Session) -> DescriptorShell:
    return DescriptorShell(session, *pty.openpty())


SHELLS = {
    "a pipe": _plain,
    "a pipe handed on": _handed_on,
    "a pipe under another number": _moved_away,
    "a socket pair": _socket_pair,
    "a terminal": _terminal,
}


@pytest.mark.parametrize("born", ["before the first step", "inside the first step"])
@pytest.mark.parametrize("kind", SHELLS)
def test_a_persistent_shell(kind: str, born: str, ready: Stage, record_property: Callable[[str, object], None]) -> None:
    with remit.Session(workspace=ready.workspace) as session:
        shell = SHELLS[kind](session) if born == "before the first step" else None
        expected = 0
        for index in range(SHELL_STEPS):
            step = f"step_{index}"
            with session.step(step, tool="bash"):
                shell = shell or SHELLS[kind](session)
                name = f"done/truth:{step}"
                shell.tell(f"touch {name}:plain; (touch {name}:sub); ( (touch {name}:twice) & )")
                shell.tell(f"bash -c 'touch {name}:deep & wait' < /dev/null")
                shell.tell(f"{{ {LATER}; touch {name}:late; }} > /dev/null 2>&1 &")
                # A program of the harness's own beside the shell is no part of the doubt.
                session.run(["touch", f"{name}:own"], check=True)
                expected += 6
        with session.step("step_release", tool="bash"):
            session.run(["touch", "released"], check=True)
        wait_for(lambda: done(ready) == expected, "all that the shell was told")
        assert shell is not None
        shell.close()
    counts = judged(session.evidence)
    report(record_property, counts)
    assert counts["proven"] >= SHELL_STEPS  # the harness's own programs at least
    assert counts["unknown"] == 0
    nobody_left(session.evidence)


def test_a_background_job_that_holds_the_pipe_of_its_finished_step(ready: Stage) -> None:
    """It hears what the harness writes later, so what it then does is not proven to be its own step's."""
    with remit.Session(workspace=ready.workspace) as session:
        with session.step("step_0", tool="bash"):
            program = session.popen(["bash", "-c", "bash <&0 & exit 0"], stdin=subprocess.PIPE, text=True)
            assert program.wait(30) == 0
        assert program.stdin is not None
        with session.step("step_1", tool="bash"):
            program.stdin.write("touch done/truth:step_1:told\n")
            program.stdin.flush()
            wait_for(lambda: done(ready) == 1, "the job to do what it was told")
        program.stdin.close()
    assert judged(session.evidence) == {"likely": 1}
