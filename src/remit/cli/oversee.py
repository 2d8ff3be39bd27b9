"""What the supervisor does in a session once its walls are going up: header record, proof of the walls, then its loop.

It is loaded while the zygote puts the walls up, because it brings everything with it that answers questions.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import struct
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit import __version__
from remit.attempts.chosen import CHOSEN, OBSERVING
from remit.boundary.launch import Boundary, Rising
from remit.errors import BoundaryError
from remit.evidence.redact import Redactor
from remit.evidence.writer import EvidenceWriter
from remit.kernel import files, proc
from remit.plan import Plan
from remit.protocol import Receiver, send
from remit.supervisor.engine_pipe import EnginePipe
from remit.supervisor.loop import Supervisor
from remit.supervisor.notary_pipe import NotaryPipe
from remit.supervisor.proof import failures

if TYPE_CHECKING:
    from remit.cli.begin import Begun
    from remit.cli.launcher import Request

_DESCRIPTORS_WANTED = 65536  # two for each live process, at most


def oversee(
    request: Request, begun: Begun, rising: Rising, temporary_directory: str, channel: socket.socket
) -> dict[str, Any]:
    """Run one session to its end; what there is to tell the launcher about it. Raises RemitError."""
    gc.freeze()  # what was imported is never garbage; without this it would all be looked through at once
    gc.enable()
    launcher = os.getppid()
    engine = EnginePipe(begun.doorbell, begun.output)
    notary = NotaryPipe(begun.heads, begun.signatures)
    writer = EvidenceWriter(begun.evidence, files.allocate)
    environment = command_environment(request.plan, request.environment, temporary_directory)
    redactor = Redactor(environment)
    boundary = rising.wait()
    # Only now, so that the zygote stays in the caller's terminal session and its programs keep job control.
    os.setsid()
    _raise_descriptor_limit()
    supervisor = Supervisor(request.plan, temporary_directory, boundary, writer, engine, notary, redactor)
    supervisor.record("session", **_header(request, begun.session, boundary, launcher, temporary_directory))
    if "socket" in request.plan.claims:
        try:
            supervisor.accept_claims(temporary_directory)
        except OSError as problem:
            raise BoundaryError(
                f"cannot make the claims socket beside {temporary_directory}: {problem.strerror}",
                hint="make its directory writable, or leave claims out of the scope",
            ) from problem
    _prove_walls(supervisor, request.despite_open_walls, request.plan.observe)
    # From here on nothing is imported any more: the agent may write where Python, or the dynamic linker, would look.
    sys.meta_path.clear()
    _listen_to_launcher(supervisor, channel)
    supervisor.requests.environment = environment
    if request.gateway is not None:
        supervisor.serve("gateway", request.gateway)
    if request.arguments is not None:
        supervisor.start_command(
            {
                "arguments": list(request.arguments),
                "environment": environment,
                "directory": os.getcwd(),
                "new_session": False,
                "phase": request.phase,
            }
        )
    else:
        assert request.harness is not None
        supervisor.steps.controllers.add(_peer(request.harness))
        ready = {"session": begun.session, "evidence": begun.evidence, "environment": environment}
        send(request.harness, {"ready": ready})
        supervisor.serve("harness", request.harness)
    _release_terminal()
    outcome = supervisor.run()
    return {
        "status": outcome.status,
        "exit_source": outcome.exit_source,
        "ended_by": outcome.ended_by,
        "severities": engine.severities,
        "denials": supervisor.denials,
        "unsigned": notary.lost,
    }


def _prove_walls(supervisor: Supervisor, despite: bool, observe: bool) -> None:
    open_ones = failures(supervisor.prove(OBSERVING if observe else CHOSEN))
    if open_ones and not despite:
        supervisor.refuse_to_start()
        raise BoundaryError(f"a wall did not hold, so the agent was not started: {'; '.join(open_ones)}",
                            hint="remit doctor shows every wall of this machine")  # fmt: skip


def command_environment(plan: Plan, caller: Mapping[str, str], temporary_directory: str) -> dict[str, str]:
    """The agent's environment: what the scope passes and sets, and nothing else."""
    kept = {
        name: value
        for name, value in caller.items()
        if any(name == rule or (rule.endswith("*") and name.startswith(rule[:-1])) for rule in plan.environment.keep)
    }
    kept["TMPDIR"] = temporary_directory
    if "socket" in plan.claims:
        from remit.claims import CLAIMS_VARIABLE, claims_place  # most scopes have none

        kept[CLAIMS_VARIABLE] = claims_place(temporary_directory)
    made = {name: value.replace("$TMPDIR", temporary_directory) for name, value in plan.environment.set.items()}
    return kept | made


def _peer(connection: socket.socket) -> int:
    """The process that made this socket pair: the harness."""
    pid: int = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def _listen_to_launcher(supervisor: Supervisor, channel: socket.socket) -> None:
    receiver = Receiver(channel)

    def ready(events: int) -> None:
        if not receiver.read():
            supervisor.launcher_gone()
            return
        while (message := receiver.next()) is not None:
            supervisor.signal_command(int(message["signal"]))

    supervisor.watch_launcher(channel.fileno(), ready)

    def tell(cause: str) -> None:
        try:
            send(channel, {"frozen": cause})
        except OSError:
            pass  # its end is seen by the loop, and ends the session

    supervisor.on_freeze = tell


def _release_terminal() -> None:
    """The agent's standard streams are its own: holding them would keep a pipe's reader waiting."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _DESCRIPTORS_WANTED), hard))


def _header(
    request: Request, session: str, boundary: Boundary, launcher: int, temporary_directory: str
) -> dict[str, Any]:
    plan = request.plan
    accepted = set(request.accept_gaps)
    return {
        "session": session,
        "boot_id": proc.boot_id(),
        "version": __version__,
        "tier": "user",
        "sight": plan.sight,
        "observe": plan.observe,
        "task": request.task or plan.task,
        "purpose": plan.purpose,
        "labels": dict(request.labels),
        "arguments": list(request.arguments) if request.arguments is not None else None,
        "workspace": plan.workspace,
        "home": os.path.expanduser("~"),
        "temporary_directory": temporary_directory,
        "scope": plan.scope,
        "scope_digest": plan.scope_digest,
        "host": {
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "name": os.uname().nodename,
            "landlock_abi": plan.landlock_abi,
            "questions_killable": boundary.killable,
            "questions_synchronous": boundary.synchronous,
        },
        "walls": [{"name": wall.name, "strength": wall.strength, "held": wall.held} for wall in plan.walls],
        "gaps": [
            {
                "name": gap.name,
                "kind": gap.kind,
                "accepted": gap.accepted or gap.name in accepted,
                "reason": gap.reason,
            }
            for gap in plan.gaps
        ],
        # Nothing is done about a finding while observing; what would be done stands in the scope.
        "respond": {} if plan.observe else plan.respond,
        "limits": {
            "processes": plan.limits.processes,
            "cpu": plan.limits.cpu,
            "memory": plan.limits.memory,
            "wall": plan.limits.wall,
        },
        "user": os.getuid(),
        "supervisor": os.getpid(),
        "zygote": boundary.zygote,
        "deputy": boundary.deputy,
        "launcher": launcher,
    }
