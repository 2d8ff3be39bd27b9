"""Starts a session: engine, supervisor and boundary as processes of their own, with the caller left outside them all.

The caller stays where the shell put it, in the terminal's job, and only waits; the supervisor leaves the terminal. If
the supervisor dies, the caller inherits the agent's processes (it is a subreaper) and kills them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit.boundary.launch import remember_dispositions
from remit.boundary.mask_mounts import make_placeholders, remove_placeholders
from remit.cli import supervise
from remit.cli.begin import Begun
from remit.cli.libraries import check_libraries
from remit.cli.trees import remove_tree
from remit.errors import BoundaryError, RemitError, ScopeError, UsageError, WallGapError
from remit.evidence.places import name_of
from remit.kernel import process
from remit.kernel.paths import is_inside
from remit.plain import Data
from remit.plan import Plan, widest
from remit.protocol import Message, ProtocolError, Receiver, send
from remit.scope.gaps import GAPS
from remit.supervisor.respond import Responder

if TYPE_CHECKING:
    import subprocess

    from remit.boundary.cgroups import SessionCgroups
    from remit.cli.model_gateway import ModelGateway

_GATEWAY_SECONDS = 2.0
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Request(Data):
    """What to start. `arguments` is the command, or None for a session that a harness drives over `harness`."""

    plan: Plan
    arguments: tuple[str, ...] | None
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    accept_gaps: tuple[str, ...] = ()
    phase: str | None = None  # that the command is started in
    task: str | None = None  # overrides the scope's
    harness: socket.socket | None = None
    gateway: socket.socket | None = None  # to the model's gateway, when the scope has a model
    despite_open_walls: bool = False  # for the doctor, which is asked what is open


class Ended(Data):
    """How a session ended, as the supervisor told it."""

    session: str
    evidence: str
    status: int | None  # wait status of the command
    exit_source: str
    ended_by: str
    severities: tuple[str, ...]
    denials: int
    unsigned: str | None  # why the evidence is not signed to its end


class Launched:
    """A session under way; `wait` for its end."""

    def __init__(
        self, begun: Begun, temporary: str, placeholders: list[str], supervisor: int, channel: socket.socket
    ) -> None:
        self.session = begun.session
        self.evidence = begun.evidence
        self._engine = begun.engine
        self._notary = begun.notary
        self._temporary = temporary
        self._placeholders = placeholders
        self._supervisor = supervisor
        self._channel = channel
        self.gateway: subprocess.Popen[bytes] | None = None
        self.claims_socket = ""
        self.cgroups: SessionCgroups | None = None

    def wait(self) -> Ended:
        """Block until the session has ended. Raises RemitError when it could not start, or its supervisor died."""
        _forward_signals(self._channel)
        receiver = Receiver(self._channel)
        name = name_of(self.evidence)
        try:
            message = receiver.wait()
            while message is not None and "frozen" in message:
                # Said even on a terminal that the agent shares: otherwise it would only seem to hang.
                print(
                    f"remit: everything is frozen by {message['frozen']}\n"
                    f"hint: remit resume --session {name}, or remit stop --kill --session {name}",
                    file=sys.stderr,
                    flush=True,
                )
                message = receiver.wait()
        except (OSError, ProtocolError):
            message = None
        try:
            if message is None or "failed" in message:
                _kill_orphans(self.cgroups)
            if message is None:
                raise RemitError(
                    "the supervisor died, so the session was ended",
                    hint=f"remit verify {self.evidence}; what was recorded until then is there",
                )
            if "failed" in message:
                raise _rebuild(message)
        finally:
            remove_placeholders(self._placeholders)  # the supervisor has done so, unless it died
            if self.cgroups is not None:
                self.cgroups.remove()
            _reap(self._supervisor)
            _reap(self._engine)
            _reap(self._notary)
            if self.gateway is not None:
                _end_gateway(self.gateway)
            remove_tree(self._temporary)
            if self.claims_socket:
                _remove_socket(self.claims_socket)
        return Ended(
            self.session,
            self.evidence,
            message["status"],
            message["exit_source"],
            message["ended_by"],
            tuple(message["severities"]),
            message["denials"],
            message["unsigned"],
        )


def launch(request: Request, begun: Begun) -> Launched:
    """Start a session that has begun. Raises WallGapError, ScopeError or BoundaryError before anything has run."""
    _check_gaps(request)
    _check_phase(request)
    _check_evidence(request.plan, begun.evidence)
    check_libraries(request.environment, widest(request.plan).files, observe=request.plan.observe)
    gateway = _gateway(request)
    if gateway is not None:
        request = request._replace(plan=gateway.granted(request.plan), gateway=gateway.channel)
    if request.plan.observe:
        # The place that was really chosen is remit's own too.
        own = tuple(sorted({*request.plan.outside, os.path.realpath(begun.evidence)}))
        request = request._replace(plan=request.plan._replace(outside=own))
    temporary = _temporary_directory(begun.session)
    placeholders = _make_placeholders(request.plan, temporary)
    cgroups = _make_cgroups(request.plan, begun.session, temporary, placeholders)
    dispositions = remember_dispositions()
    process.set_child_subreaper()
    serving = gateway.start() if gateway is not None else None
    outside, inside = socket.socketpair()
    supervisor = os.fork()
    if supervisor == 0:
        outside.close()
        supervise.main(
            request=request,
            begun=begun,
            temporary_directory=temporary,
            dispositions=dispositions,
            channel=inside,
            placeholders=placeholders,
            cgroups=cgroups,
        )
    # The caller's environment is in our memory too. Not before the fork: /proc/self would be root's in the zygote.
    process.set_dumpable(False)
    begun.close()
    inside.close()
    if request.harness is not None:
        request.harness.close()
    launched = Launched(begun, temporary, placeholders, supervisor, outside)
    launched.cgroups = cgroups
    if request.plan.claims:
        from remit.claims import claims_place

        launched.claims_socket = claims_place(temporary)
    if gateway is not None:
        launched.gateway = serving
        gateway.channel.close()
    return launched


def _gateway(request: Request) -> ModelGateway | None:
    if request.plan.model is None:
        return None
    from remit.cli.model_gateway import ModelGateway

    return ModelGateway(request.plan.model, request.environment)


def _check_gaps(request: Request) -> None:
    for name in request.accept_gaps:
        if name not in GAPS:
            raise UsageError(f"no such gap: {name}", hint="remit scope explain lists this scope's gaps")
    refused = [
        gap
        for gap in request.plan.gaps
        if gap.kind == "wall" and not gap.accepted and gap.name not in request.accept_gaps
    ]
    if refused:
        reasons = "; ".join(f"{gap.name}: {gap.reason}" for gap in refused)
        raise WallGapError(
            f"the scope asks for walls that cannot be built here: {reasons}",
            hint=" ".join(f"--accept-gap {gap.name}" for gap in refused),
        )


def _check_phase(request: Request) -> None:
    names = [phase.name for phase in request.plan.phases]
    if request.phase is not None and request.phase not in names:
        known = f"its phases: {' '.join(names)}" if names else "name it under `phases:` in the scope"
        raise UsageError(f"the scope has no such phase: {request.phase}", hint=known)


def _check_evidence(plan: Plan, directory: str) -> None:
    """The compiler keeps the usual place out of every grant; this looks at the place that was really chosen."""
    real = os.path.realpath(directory)
    for grant in widest(plan).files:
        if (
            "write" in grant.access
            and not grant.path.startswith("$TMPDIR")
            and (is_inside(real, grant.path) or is_inside(grant.path, real))
        ):
            raise ScopeError(
                f"evidence must lie where the scope cannot write, but {grant.clause} covers it: {directory}",
                hint="name another place with --evidence",
            )


def _temporary_directory(session: str) -> str:
    for base in filter(None, ("/tmp", os.environ.get("XDG_RUNTIME_DIR"))):
        directory = f"{base}/remit-{session}"
        try:
            os.mkdir(directory, 0o700)
            os.mkdir(f"{directory}/home", 0o700)
            return directory
        except OSError:
            continue
    raise BoundaryError("cannot create a private temporary directory: /tmp", hint="make /tmp writable")


def _make_placeholders(plan: Plan, temporary: str) -> list[str]:
    try:
        return make_placeholders(plan.masks, temporary)
    except OSError as problem:
        remove_tree(temporary)
        raise BoundaryError(
            f"cannot keep the place of a protected path: {problem.filename}: {problem.strerror}",
            hint="make its directory writable, or take the path out of files.protect",
        ) from problem


def _make_cgroups(plan: Plan, session: str, temporary: str, placeholders: list[str]) -> SessionCgroups | None:
    if plan.cgroup is None:
        return None
    from remit.boundary.cgroups import make_session_cgroups

    try:
        return make_session_cgroups(session, plan.cgroup)
    except BoundaryError:
        remove_placeholders(placeholders)
        remove_tree(temporary)
        raise


def _forward_signals(channel: socket.socket) -> None:
    """Ctrl-C and Ctrl-\\ reach the agent from the terminal, if there is one; what is sent to us alone is passed on."""
    typed = (signal.SIGINT, signal.SIGQUIT)
    if terminal := _has_terminal():
        for number in typed:
            signal.signal(number, signal.SIG_IGN)

    def forward(number: int, frame: Any) -> None:
        try:
            send(channel, {"signal": number})
        except OSError:
            pass  # the supervisor has gone; wait() says so

    for number in (*_FORWARDED, *(() if terminal else typed)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _kill_orphans(cgroups: SessionCgroups | None) -> None:
    """The supervisor is gone and its processes are ours now. Their calls fail closed; end them."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def reap() -> None:
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return
            except ChildProcessError:
                return

    Responder(set(), reap, reader, cgroups).kill()
    os.close(reader)
    os.close(writer)


def _remove_socket(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # it is gone, or was never made


def _reap(child: int) -> None:
    """Engine and notary end when the supervisor's ends of their pipes are gone."""
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass


def _end_gateway(gateway: subprocess.Popen[bytes]) -> None:
    """It ends when the supervisor has ended; whatever it is busy with then, nobody waits for."""
    import subprocess

    try:
        gateway.wait(_GATEWAY_SECONDS)
    except subprocess.TimeoutExpired:
        gateway.kill()
        gateway.wait()


def _rebuild(message: Message) -> RemitError:
    problem = RemitError(message["failed"], hint=message["hint"])
    problem.exit_status = message["exit_status"]
    return problem
