"""An interactive shell on a terminal: job control, Ctrl-C and Ctrl-Z, the window, and who owns the terminal after."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import termios
import time
from collections.abc import Iterator
from types import TracebackType

import pytest
from stage import PATIENCE, REMIT, Stage, is_sound, nobody_left, objections, wait_for

INNER = "bash --norc --noprofile -i"


class Terminal:
    """A person at a terminal, in front of a shell that remit has nothing to do with."""

    def __init__(self, stage: Stage) -> None:
        self.shell, self.master = pty.fork()
        if self.shell == 0:
            os.chdir(stage.workspace)
            # Who starts the tests in the background ignores these, and bash would hand that on.
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            environment = {**stage.environment, "TERM": "dumb", "PS1": "outer> "}
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        self.resize(33, 101)
        self._seen = ""
        self.expect(r"outer> ")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            os.close(self.master)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.shell, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.shell, 0)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> str:
        """Read until the pattern has come, and forget what came before its end."""
        deadline = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain for {pattern!r}; the terminal shows {self._seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self._seen += os.read(self.master, 65536).decode(errors="replace")
        self._seen = self._seen[match.end() :]
        return match[0]

    def remit(self, command: str) -> None:
        """Type a `remit run`; its status is shown afterwards."""
        self.type(f"{shlex.join(REMIT)} run -- {command}; echo status=$?.\n")

    def enter(self) -> None:
        """An interactive shell inside."""
        self.remit(INNER)
        self.expect(r"bash-[\d.]+\$ ")
        self.type("PS1='inner''> '\n")  # the echo of this line does not contain the prompt
        self.expect("inner> ")

    def foreground(self) -> int:
        return struct.unpack("i", fcntl.ioctl(self.master, termios.TIOCGPGRP, b"\0" * 4))[0]

    def local_modes(self) -> int:
        """Whether it echoes and the like, as a command finds it. While bash waits for a line these differ, and when it
        changes them nobody is told."""
        self.type("echo settings=$(stty -g).\n")
        found = self.expect(r"settings=[0-9a-f:]+\.")
        self.expect("outer> ")
        return int(found.split(":")[3], 16)

    def until_in_front(self, name: str) -> int:
        """Wait until a program of this name leads the terminal's foreground; returns its process group."""

        def leads() -> bool:
            with contextlib.suppress(OSError), open(f"/proc/{self.foreground()}/cmdline", "rb") as arguments:
                return arguments.read().split(b"\0")[0].decode() == name
            return False

        wait_for(leads, f"{name} in the foreground")
        return self.foreground()


@pytest.fixture
def terminal(stage: Stage) -> Iterator[Terminal]:
    with Terminal(stage) as made:
        yield made


def quiet(stage: Stage) -> None:
    assert objections(stage.evidence()) == []
    is_sound(stage.evidence())
    nobody_left(stage.evidence())


def test_job_control_inside(stage: Stage, terminal: Terminal) -> None:
    terminal.enter()
    terminal.type("sleep 1001\n")
    terminal.until_in_front("sleep")
    terminal.type("\x1a")
    terminal.expect(r"Stopped +sleep 1001")
    terminal.expect("inner> ")
    terminal.type("sleep 1002 &\n")
    terminal.expect("inner> ")
    terminal.type("jobs\n")
    terminal.expect(r"Stopped +sleep 1001")
    terminal.expect(r"Running +sleep 1002")
    terminal.expect("inner> ")
    terminal.type("fg %1\n")
    terminal.expect("sleep 1001\r\n")
    terminal.until_in_front("sleep")
    terminal.type("\x03")
    terminal.expect("inner> ")
    terminal.type("echo interrupted=$?.\n")
    terminal.expect(r"interrupted=130\.")
    terminal.type("bg; fg\n")
    terminal.expect("sleep 1002\r\n")
    terminal.until_in_front("sleep")
    terminal.type("\x1c")
    terminal.expect("inner> ")
    terminal.type("seq 3 | cat | tail -n 1; exit 7\n")
    terminal.expect("3\r\n")
    terminal.expect(r"status=7\.")
    terminal.expect("outer> ")
    assert terminal.foreground() == terminal.shell
    quiet(stage)


def test_window_size(stage: Stage, terminal: Terminal) -> None:
    terminal.enter()
    terminal.type("stty size\n")
    terminal.expect(r"33 101\r\ninner> ")
    terminal.type("trap 'echo resized to $(stty size)' WINCH\n")
    terminal.expect("inner> ")
    terminal.resize(44, 122)
    terminal.type("\n")
    terminal.expect("resized to 44 122")
    terminal.type("exit\n")
    terminal.expect(r"status=0\.")
    terminal.type("stty size\n")
    terminal.expect("44 122")
    quiet(stage)


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x1c", 131)])
def test_an_interrupted_command(key: str, status: int, stage: Stage, terminal: Terminal) -> None:
    terminal.remit("sh -c 'echo begun; exec sleep 1003'")
    terminal.expect("begun\r\n")
    terminal.type(key)
    terminal.expect(rf"status={status}\.")
    terminal.expect("outer> ")
    assert terminal.foreground() == terminal.shell
    quiet(stage)


def test_a_command_that_handles_the_interrupt_decides_itself(stage: Stage, terminal: Terminal) -> None:
    terminal.remit("bash -c 'trap \"echo handled; exit 5\" INT; echo begun; while :; do sleep 0.1; done'")
    terminal.expect("begun\r\n")
    terminal.type("\x03")
    terminal.expect("handled\r\n")
    terminal.expect(r"status=5\.")
    quiet(stage)


def test_the_whole_run_is_a_job_of_the_outer_shell(stage: Stage, terminal: Terminal) -> None:
    terminal.type(f"{shlex.join(REMIT)} run -- sh -c 'echo begun; exec sleep 1004'\n")
    terminal.expect("begun\r\n")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.expect("outer> ")
    assert terminal.foreground() == terminal.shell
    terminal.type("fg\n")
    wait_for(lambda: terminal.foreground() != terminal.shell, "the job in the foreground")
    terminal.type("\x03")
    terminal.expect("outer> ")
    terminal.type("echo status=$?.\n")
    terminal.expect(r"status=130\.")
    quiet(stage)


def test_a_full_screen_program_gets_its_terminal_settings_back(stage: Stage, terminal: Terminal) -> None:
    before = terminal.local_modes()
    terminal.remit("bash -c 'stty -echo raw; stty sane; read -s -n 1 -p key? key; echo got=$key.'")
    terminal.expect(r"key\?")
    terminal.type("k")
    terminal.expect(r"got=k\.")
    terminal.expect(r"status=0\.")
    terminal.expect("outer> ")
    kept = termios.ECHO | termios.ICANON | termios.ISIG
    assert terminal.local_modes() & kept == before & kept == kept
    quiet(stage)


def test_a_terminal_that_hangs_up_ends_the_session(stage: Stage, terminal: Terminal) -> None:
    terminal.enter()
    terminal.type("sleep 1005 & nohup sleep 1006 & setsid sleep 1007 & echo rea''dy\n")
    terminal.expect("ready")
    os.close(terminal.master)
    nobody_left(stage.evidence(), marker=str(stage.root))
    is_sound(stage.evidence())
