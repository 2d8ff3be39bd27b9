"""Starts a session: engine, supervisor and boundary as processes of their own, with the caller left outside them all.

The caller stays where the shell put it, in the terminal's job, and only waits; the supervisor leaves the terminal. If
the supervisor dies, the caller inherits the agent's processes (it is a subreaper) and kills them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from remit.boundary.confine import confine_reader
from remit.boundary.launch import remember_dispositions
from remit.cli import supervise
from remit.errors import BoundaryError, EvidenceError, RemitError, ScopeError, WallGapError
from remit.evidence.locate import sessions_root
from remit.kernel import process
from remit.plan import Plan
from remit.protocol import Message, ProtocolError, Receiver, send
from remit.supervisor.respond import Responder

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Request:
    """What to start. `arguments` is the command, or None for a session that a harness drives over `harness`."""

    plan: Plan
    arguments: tuple[str, ...] | None
    environment: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    evidence: Path | None = None
    accept_gaps: tuple[str, ...] = ()
    task: str | None = None  # overrides the scope's
    harness: socket.socket | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended, as the supervisor told it."""

    session: str
    evidence: Path
    status: int | None  # wait status of the command
    exit_source: str
    ended_by: str
    severities: tuple[str, ...]
    denials: int


class Launched:
    """A session under way; `wait` for its end."""

    def __init__(self, session: str, evidence: Path, temporary: Path, supervisor: int, channel: socket.socket) -> None:
        self.session = session
        self.evidence = evidence
        self._temporary = temporary
        self._supervisor = supervisor
        self._channel = channel

    def wait(self) -> Ended:
        """Block until the session has ended. Raises RemitError when it could not start, or its supervisor died."""
        _forward_signals(self._channel)
        receiver = Receiver(self._channel)
        try:
            message = receiver.wait()
        except (OSError, ProtocolError):
            message = None
        try:
            if message is None:
                _kill_orphans()
                raise RemitError(
                    "the supervisor died, so the session was ended",
                    hint=f"remit verify {self.evidence}; what was recorded until then is there",
                )
            if "failed" in message:
                raise _rebuild(message)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
            _reap(self._supervisor)
        return Ended(
            self.session,
            self.evidence,
            message["status"],
            message["exit_source"],
            message["ended_by"],
            tuple(message["severities"]),
            message["denials"],
        )


def launch(request: Request) -> Launched:
    """Start a session. Raises WallGapError, ScopeError or EvidenceError before anything has run."""
    plan = request.plan
    open_gaps = [gap for gap in plan.gaps if gap.kind == "wall" and not gap.accepted]
    refused = [gap for gap in open_gaps if gap.name not in request.accept_gaps]
    if refused:
        reasons = "; ".join(f"{gap.name}: {gap.reason}" for gap in refused)
        flags = " ".join(f"--accept-gap {gap.name}" for gap in refused)
        raise WallGapError(f"the scope asks for walls that cannot be built here: {reasons}", hint=flags)
    session = time.strftime("%Y%m%dT%H%M%S") + "-" + secrets.token_hex(4)
    evidence = _evidence_directory(request, session)
    temporary = _temporary_directory(session)
    dispositions = remember_dispositions()
    process.set_child_subreaper()
    outside, inside = socket.socketpair()
    bell_reader, bell_writer = os.pipe2(os.O_CLOEXEC)
    output_reader, output_writer = os.pipe2(os.O_CLOEXEC)
    engine = os.fork()
    if engine == 0:
        _run_engine(evidence, bell_reader, output_writer)
    supervisor = os.fork()
    if supervisor == 0:
        os.close(bell_reader)
        os.close(output_writer)
        outside.close()
        supervise.main(
            request=request,
            session=session,
            evidence=evidence,
            temporary_directory=str(temporary),
            dispositions=dispositions,
            channel=inside,
            doorbell=bell_writer,
            output=output_reader,
        )
    for descriptor in (bell_reader, bell_writer, output_reader, output_writer):
        os.close(descriptor)
    inside.close()
    if request.harness is not None:
        request.harness.close()
    return Launched(session, evidence, temporary, supervisor, outside)


def _evidence_directory(request: Request, session: str) -> Path:
    directory = (request.evidence or sessions_root() / session).absolute()
    for grant in request.plan.files:
        if "write" in grant.access and not grant.path.startswith("$TMPDIR"):
            inside = Path(os.path.realpath(directory)).is_relative_to(grant.path)
            if inside or Path(grant.path).is_relative_to(os.path.realpath(directory)):
                raise ScopeError(
                    f"evidence must lie where the scope cannot write, but {grant.clause} covers it: {directory}",
                    hint="name another place with --evidence",
                )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise EvidenceError(f"evidence directory is not empty: {directory}", hint="name a new one with --evidence")
    except OSError as problem:
        raise EvidenceError(f"cannot create the evidence directory {directory}: {problem.strerror}") from problem
    return directory


def _temporary_directory(session: str) -> Path:
    for base in ("/tmp", os.environ.get("XDG_RUNTIME_DIR", "")):
        directory = Path(base) / f"remit-{session}"
        try:
            directory.mkdir(mode=0o700)
            (directory / "home").mkdir(mode=0o700)
            return directory
        except OSError:
            continue
    raise BoundaryError("cannot create a private temporary directory: /tmp", hint="make /tmp writable")


def _run_engine(evidence: Path, doorbell: int, output: int) -> None:
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            signal.signal(number, signal.SIG_IGN)
        process.set_dumpable(False)
        process.set_name("remit-engine")
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        process.close_other_descriptors({doorbell, output})
        from remit.engine.follow import follow

        confine_reader(evidence)
        follow(evidence, doorbell, output)
    finally:
        os._exit(0)


def _forward_signals(channel: socket.socket) -> None:
    """Ctrl-C and Ctrl-\\ reach the agent from the terminal; what is sent to us alone is passed on."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)

    def forward(number: int, frame: Any) -> None:
        try:
            send(channel, {"signal": number})
        except OSError:
            pass  # the supervisor has gone; wait() says so

    for number in _FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)


def _kill_orphans() -> None:
    """The supervisor is gone and its processes are ours now. Their calls fail closed; end them."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def reap() -> None:
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    Responder(set(), reap, reader).kill()
    os.close(reader)
    os.close(writer)


def _reap(supervisor: int) -> None:
    try:
        os.waitpid(supervisor, 0)
    except ChildProcessError:
        pass


def _rebuild(message: Message) -> RemitError:
    for kind in (BoundaryError, EvidenceError):
        if message["exit_status"] == kind.exit_status:
            return kind(message["failed"], hint=message["hint"])
    return RemitError(message["failed"], hint=message["hint"])

