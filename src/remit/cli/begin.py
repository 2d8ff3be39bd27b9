"""The first thing a session does: name itself, make its evidence directory and start its engine and its notary.

Both are forked before the supervisor's modules are even imported, so that they load what they need on another core
meanwhile and a short command does not wait for them. This module imports what all of these processes need, and no more.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import NoReturn

from remit.boundary.confine import confine_reader
from remit.errors import EvidenceError, RemitError
from remit.evidence.places import notary_key_place, sessions_place
from remit.kernel import process
from remit.plain import Data

# Nobody waits for a signature before the end, and the agent's start has more use for the cores than what signs.
_YIELDING = 10


class Begun(Data):
    """A session that has a name, a directory, an engine and a notary, and no agent yet."""

    session: str
    evidence: str
    engine: int
    doorbell: int
    output: int
    notary: int
    heads: int
    signatures: int

    def cancel(self) -> None:
        """Undo: the session could not be started, so it leaves nothing behind."""
        for child in (self.engine, self.notary):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.close()
        try:
            os.rmdir(self.evidence)
        except OSError:
            pass  # the supervisor got as far as recording something: that stays

    def close(self) -> None:
        """Let go of the pipes, which are the supervisor's."""
        for number in (self.doorbell, self.output, self.heads, self.signatures):
            os.close(number)


def begin_session(evidence: str | None) -> Begun:
    """Raises EvidenceError when the directory cannot be made or is not empty."""
    session = time.strftime("%Y%m%dT%H%M%S") + "-" + os.urandom(4).hex()
    directory = os.path.abspath(evidence or f"{sessions_place()}/{session}")
    try:
        _make_directory(directory)
        if os.listdir(directory):
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
    heads_reader, heads_writer = os.pipe2(os.O_CLOEXEC)
    signatures_reader, signatures_writer = os.pipe2(os.O_CLOEXEC)
    notary = os.fork()
    if notary == 0:
        _run_notary(heads_reader, signatures_writer)
    os.close(heads_reader)
    os.close(signatures_writer)
    return Begun(session, directory, engine, bell_writer, output_reader, notary, heads_writer, signatures_reader)


def _make_directory(path: str) -> None:
    """For its owner alone; what leads to it is made as other programs make it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _run_engine(evidence: str, doorbell: int, output: int) -> NoReturn:
    try:
        _stand_alone("remit-engine", {doorbell, output})
        from remit.engine.follow import follow

        confine_reader(evidence)
        follow(evidence, doorbell, output)
    finally:
        os._exit(0)


def _run_notary(heads: int, signatures: int) -> NoReturn:
    """The key is read while this process still may; what is not ours is imported only when it no longer may."""
    try:
        _stand_alone("remit-notary", {heads, signatures})
        os.nice(_YIELDING)
        from remit.evidence.keys import read_or_make_key

        try:
            key = read_or_make_key(notary_key_place())
            confine_reader()
            # Until there is something to sign the agent's start has more use for the cores than loading cryptography.
            select.select([heads], [], [])
            from remit.evidence.notary import serve

            serve(key, heads, signatures)
        except Exception as problem:
            reason = problem.message if isinstance(problem, RemitError) else repr(problem)
            os.write(signatures, json.dumps({"failed": reason}).encode("ascii") + b"\n")
    finally:
        os._exit(0)


def _stand_alone(name: str, keep: set[int]) -> None:
    """A process of its own: unreadable to this user's others, away from the terminal, with two pipes and no more."""
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(ignored, signal.SIG_IGN)
    os.setsid()
    process.set_dumpable(False)
    process.set_name(name)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    process.close_other_descriptors(keep)
