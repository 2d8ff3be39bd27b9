"""What a harness or an operator may ask of a running session, and what each request does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from remit.errors import FrozenError, StepError, UsageError
from remit.kernel import pidfd
from remit.protocol import Message, ProtocolError
from remit.supervisor.connections import Connection
from remit.supervisor.gateway_requests import GatewayRequests
from remit.supervisor.processes import ProcessTable, Spawned
from remit.supervisor.steps import Steps

_MCP_MEMBERS = ("tool", "description", "annotations", "digests", "from", "reason", "count")


class Spawn:
    """A program that the zygote was asked to start. `owner` is told of its pid and its end."""

    def __init__(
        self,
        number: int,
        step: str | None,
        source: str,  # run, sdk or exec: who asked for it
        arguments: list[str],
        directory: str,
        search_path: str,
        owner: Connection | None,
        phase: str | None,
    ) -> None:
        self.number = number
        self.phase = phase
        self.step = step
        self.source = source
        self.arguments = arguments
        self.directory = directory
        self.search_path = search_path
        self.owner = owner
        self.pid = 0
        self.leads = False  # a session, and so a process group, of its own
        self.signals: list[int] = []  # sent before it had asked its first question


class Session(Protocol):
    """What requests may do to the session as a whole."""

    frozen: bool

    def freeze(self, by: str) -> int: ...
    def resume(self, by: str) -> int: ...
    def kill(self, by: str) -> int: ...
    def finish(self) -> None: ...


class Requests:
    """Handles one message at a time; the answer is {ok: …} or {error: …} with the request's `request` number."""

    def __init__(
        self,
        session: Session,
        steps: Steps,
        processes: ProcessTable,
        start_program: Callable[[Message, tuple[int, ...]], None],
        gateway: GatewayRequests,
        record: Callable[..., Any],
    ) -> None:
        self._session = session
        self._record = record
        self._steps = steps
        self._processes = processes
        self._start_program = start_program
        self._gateway = gateway
        self.spawns: dict[int, Spawn] = {}
        self.by_pid: dict[int, Spawn] = {}
        self.harness: Connection | None = None
        self.gateway: Connection | None = None
        self._outer: set[Connection] = set()  # gateways of harnesses outside
        self.environment: dict[str, str] = {}  # for programs whose caller names none: what the scope grants
        self._step_owners: dict[str, Connection] = {}
        self._last = 0

    def adopt(self, role: str, connection: Connection) -> None:
        """Take requests from the `harness`, or from the model `gateway`, over a channel that nobody else has."""
        if role == "harness":
            self.harness = connection
        else:
            self.gateway = connection

    def received(self, connection: Connection, message: Message) -> None:
        """Do what was asked. Raises ProtocolError, KeyError or the like on rubbish, which ends the connection."""
        descriptors = connection.take_descriptors(int(message.get("descriptors", 0)))
        try:
            outcome = self._perform(connection, message, descriptors)
        except UsageError as problem:
            refusal = {"error": problem.message, "hint": problem.hint, "class": type(problem).__name__}
            connection.send({"request": message.get("request"), **refusal})
            return
        except ProtocolError as problem:
            connection.send({"request": message.get("request"), "error": str(problem)})
            return
        connection.send({"request": message.get("request"), "ok": outcome})

    def lost(self, connection: Connection) -> None:
        """A peer hung up. Without its harness a session ends: nobody is left who could mark its steps. Any other peer's
        steps end with it, and what it started runs on."""
        if connection is self.harness:
            self._session.finish()
            return
        if connection is self.gateway:
            self._gateway.gone()
        self._outer.discard(connection)
        for step in [step for step, owner in self._step_owners.items() if owner is connection]:
            self._end_step(step, self._source(connection))

    def _perform(self, connection: Connection, message: Message, descriptors: tuple[int, ...]) -> Any:
        source = "mcp" if "given_to" in message else self._source(connection)
        action = message.get("do")
        if (connection is self.gateway or connection in self._outer) and action != "step":
            return self._gateway.perform(message, outside=connection in self._outer)
        if action == "gateway" and connection is not self.harness:
            self._outer.add(connection)
            return None
        if action == "spawn":
            return self.spawn(message, descriptors, connection)
        if action == "step":
            if message.get("mark") != "begin":
                return self._end_step(str(message.get("step")), source)
            if self._session.frozen and connection is not self.harness:
                raise FrozenError("the session is frozen", hint="remit resume")
            if message.get("join") and self._steps.is_open(str(message.get("step"))):
                return {"joined": True}  # whoever began it ends it
            self._steps.begin(self._with_caller(message), source)
            self._step_owners[message["step"]] = connection
            return None
        if action == "turn" and connection is self.harness:
            return self._gateway.turn(message, source)
        if action == "mcp" and connection is self.harness:
            return self._record_mcp(message)
        if action == "signal":
            return self.send_signal(int(message["spawn"]), int(message["signal"]), group=bool(message.get("group")))
        by = "harness" if connection is self.harness else "operator"
        if action == "freeze":
            return self._session.freeze(by)
        if action == "resume":
            return self._session.resume(by)
        if action == "kill":
            return self._session.kill(by)
        if action == "finish" and connection is self.harness:
            return self._session.finish()
        raise ProtocolError(f"unknown request: {action}")

    def _with_caller(self, message: Message) -> Message:
        """A step that a program was `given_to` has that program's process for its caller, if it is there."""
        process = self._process_of(message.get("given_to"))
        return {**message, "caller": process} if process else message

    def _process_of(self, spawn: Any) -> str | None:
        known = self.spawns.get(spawn) if isinstance(spawn, int) else None
        process = self._processes.get(known.pid) if known is not None and known.pid else None
        return process.identity if process is not None else None

    def _record_mcp(self, message: Message) -> None:
        """What an MCP server says of its tools, as the proxy outside read it."""
        members = {name: message[name] for name in _MCP_MEMBERS if name in message}
        self._record("mcp", mark=str(message["mark"]), process=self._process_of(message.get("of")), **members)

    def _end_step(self, step: str, source: str) -> None:
        self._steps.end(step, source)
        self._step_owners.pop(step, None)

    def spawn(self, message: Message, descriptors: tuple[int, ...], owner: Connection | None) -> int:
        """Have a program started, charged to an open step if one is named. Returns the spawn's number."""
        step = message.get("step")
        if step is not None and not self._steps.is_open(step):
            raise StepError(f"step is not open: {step}", hint="a program is started while its step is open")
        arguments = message["arguments"]
        if not arguments or not all(isinstance(word, str) and "\0" not in word for word in arguments):
            raise ProtocolError("arguments must be one or more strings without NUL")
        environment = dict(self.environment if message["environment"] is None else message["environment"])
        directory = str(message["directory"])
        self._last += 1
        phase = message.get("phase") if step is None else self._steps.phase_of(step)
        search_path = environment.get("PATH", os.defpath)
        self.spawns[self._last] = Spawn(
            self._last, step, self._source(owner), arguments, directory, search_path, owner, phase
        )
        self.spawns[self._last].leads = bool(message["new_session"])
        request = {
            "id": self._last,
            "arguments": arguments,
            "environment": environment,
            "directory": directory,
            "phase": phase,
            "new_session": bool(message["new_session"]),
            "descriptors": len(descriptors),
        }
        self._start_program(request, descriptors)
        return self._last

    def spawned(self, number: int, pid: int) -> None:
        spawn = self.spawns[number]
        spawn.pid = pid
        self.by_pid[pid] = spawn
        if spawn.owner is not None:
            spawn.owner.send({"spawned": number, "pid": pid})

    def ended(self, number: int, status: int) -> None:
        """A program has ended, or never started; `status` is a wait status."""
        spawn = self.spawns.pop(number)
        self.by_pid.pop(spawn.pid, None)
        if spawn.owner is not None:
            spawn.owner.send({"exited": number, "status": status})

    def lookup(self, pid: int) -> Spawned | None:
        """What is known of a child of the zygote."""
        spawn = self.by_pid.get(pid)
        if spawn is None:
            return None
        said = (spawn.arguments, spawn.directory, spawn.search_path, spawn.signals)
        return Spawned(spawn.step, spawn.source, *said, spawn.phase)

    def send_signal(self, number: int, signal_number: int, *, group: bool = False) -> bool:
        """Signal a program that was started, or the `group` that it leads. Before its first question it still has the
        zygote's signal handling, and may not even have a pid, so what is sent by then waits for that question."""
        spawn = self.spawns.get(number)
        if spawn is None or signal_number not in set(signal.Signals):
            return False
        process = self._processes.get(spawn.pid)
        if process is None:
            spawn.signals.append(signal_number)
            return True
        if group and spawn.leads:
            try:
                os.killpg(process.pid, signal_number)  # the leader lives, so the number is its group's
            except ProcessLookupError:
                return False
            return True
        return pidfd.send_signal(process.pidfd, signal_number)

    def _source(self, connection: Connection | None) -> str:
        if connection is None:
            return "run"
        if connection is self.gateway or connection in self._outer:
            return "gateway"
        return "sdk" if connection is self.harness else "exec"
