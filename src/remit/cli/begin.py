"""The first thing a session does: name itself, make its evidence directory and start its engine.

The engine is forked before the supervisor's modules are even imported, so that it loads its detectors on another core
meanwhile and a short command does not wait for it. This module therefore imports next to nothing.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from remit.errors import EvidenceError
from remit.evidence.locate import sessions_root


class Begun(NamedTuple):
    """A session that has a name, a directory and an engine, and nothing running yet."""

    session: str
    evidence: Path
    engine: int
    doorbell: int
    output: int

    def cancel(self) -> None:
        """Undo: the session could not be started, so it leaves nothing behind."""
        os.kill(self.engine, signal.SIGKILL)
        os.waitpid(self.engine, 0)
        os.close(self.doorbell)
        os.close(self.output)
        try:
            self.evidence.rmdir()
        except OSError:
            pass  # the supervisor got as far as recording something: that stays


def begin_session(evidence: Path | None) -> Begun:
    """Raises EvidenceError when the directory cannot be made or is not empty."""
    session = time.strftime("%Y%m%dT%H%M%S") + "-" + os.urandom(4).hex()
    directory = (evidence or sessions_root() / session).absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise EvidenceError(f"evidence directory is not empty: {directory}", hint="name a new one with --evidence")
    except OSError as problem:
        raise EvidenceError(f"cannot create the evidence directory {directory}: {problem.strerror}") from problem
    bell_reader, bell_writer = os.pipe2(os.O_CLOEXEC)
    output_reader, output_writer = os.pipe2(os.O_CLOEXEC)
    engine = os.fork()
    if engine == 0:
        _run_engine(directory, bell_reader, output_writer)
    os.close(bell_reader)
    os.close(output_writer)
    return Begun(session, directory, engine, bell_writer, output_reader)


def _run_engine(evidence: Path, doorbell: int, output: int) -> None:
    try:
        for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            signal.signal(ignored, signal.SIG_IGN)
        os.setsid()
        from remit.kernel import process

        process.set_dumpable(False)
        process.set_name("remit-engine")
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        process.close_other_descriptors({doorbell, output})
        from remit.boundary.confine import confine_reader
        from remit.engine.follow import follow

        confine_reader(evidence)
        follow(evidence, doorbell, output)
    finally:
        os._exit(0)
