"""The supervisor's one thread: it waits, serves what is ready in order of importance, and writes evidence each turn.

Verdicts and control come first, then what the zygote and the deputy say, then deaths, then questions. It ends when the
command has ended or the harness hangs up, and whatever ends it, nothing of the agent is left running.
"""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable, Iterable
from typing import Any

from remit.attempts.attempt import Result
from remit.attempts.chosen import CHOSEN
from remit.boundary.launch import Boundary
from remit.errors import EvidenceError
from remit.evidence.redact import Redactor
from remit.evidence.writer import EvidenceWriter
from remit.kernel import closing, pidfd
from remit.plain import Data
from remit.plan import Plan, widest
from remit.protocol import Message
from remit.supervisor.answers import Desk
from remit.supervisor.children import Children
from remit.supervisor.connections import Connection, Watch
from remit.supervisor.control import CONTROL_PRIORITY, ControlSocket
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.engine_pipe import EnginePipe
from remit.supervisor.gateway_requests import GatewayRequests
from remit.supervisor.handlers import answering
from remit.supervisor.losses import Losses
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.mask_watch import MaskWatch
from remit.supervisor.notary_pipe import NotaryPipe
from remit.supervisor.persistence import Persistence
from remit.supervisor.phases import Phases, tables
from remit.supervisor.processes import Process, ProcessTable, Spawned
from remit.supervisor.proof import Proof, describe
from remit.supervisor.questions import Questions
from remit.supervisor.rate import CLAUSE
from remit.supervisor.requests import Requests
from remit.supervisor.respond import Responder
from remit.supervisor.sampler import Sampler
from remit.supervisor.seen import Seen
from remit.supervisor.steps import Steps

_VERDICT_PRIORITY = 0
_BOUNDARY_PRIORITY = 2
_CHILD_PRIORITY = 3
_DEATH_PRIORITY = 4
_QUESTION_PRIORITY = 5


class Outcome(Data):
    """How the session ended. status: the command's wait status, None when there was no single command."""

    status: int | None = None
    exit_source: str = "command"
    ended_by: str = "command"


class Supervisor:
    """One session from the first question to the closing record."""

    def __init__(
        self,
        plan: Plan,
        temporary_directory: str,
        boundary: Boundary,
        writer: EvidenceWriter,
        engine: EnginePipe,
        notary: NotaryPipe,
        redactor: Redactor,
    ) -> None:
        self._plan = plan
        self._boundary = boundary
        self._writer = writer
        self._engine = engine
        self._notary = notary
        self._redactor = redactor
        self._selector = selectors.DefaultSelector()
        self._outcome: Outcome | None = None
        self._root: int | None = None  # the spawn whose end ends the session
        self.frozen = False
        self.denials = 0
        self._seen = Seen()
        self._proof: Proof | None = None
        self.on_freeze: Callable[[str], None] = lambda cause: None
        self._persistence = Persistence(widest(plan), os.path.expanduser("~"))
        self._build(plan, temporary_directory, boundary)

    def _build(self, plan: Plan, temporary_directory: str, boundary: Boundary) -> None:
        self.processes = ProcessTable(
            record=self.record, watch=self._watch, unwatch=self._unwatch, spawned=self._spawn_of
        )
        self.processes.set_zygote(boundary.zygote)
        # By pidfd: either may die early, and its number become another's.
        self._insiders = [pidfd.open_process(pid) for pid in (boundary.zygote, boundary.deputy)]
        self.masks = MaskWatch(plan.masks, temporary_directory, boundary, self.record)
        self.phases = Phases(plan, self.processes, self.record, lambda seconds: self._responder.wait(seconds))
        grants, udp = tables(plan, temporary_directory), bool(widest(plan).udp)
        desk = Desk(plan, temporary_directory, self.processes, self.record, grants, udp, self.phases.is_over)
        self._questions = Questions(boundary.listener, desk, self._flooded)
        self._deputy = DeputyClient(boundary.deputy_channel, boundary.deputy)
        self._made = MadeSockets(self._selector, self._present)
        made = self._made if plan.make_sockets else None
        if made is not None:
            self.processes.capacity -= made.most  # each takes a descriptor of ours, as each process does
        found = answering(desk, self._questions, self._deputy, boundary, self._seen, made)
        self._network, self._stops = found.network, found.stops
        self._questions.use(found.table, found.stops, found.is_quiet)
        closing.prepare()
        children = Children(self._stops, self._insiders[0], boundary.zygote, self.record)
        insiders = {boundary.zygote, boundary.deputy}
        self._responder = Responder(insiders, children.reap, children.descriptor, boundary.cgroups)
        flows, cgroups = self._network.connections, boundary.cgroups
        self._sampler = Sampler(plan, self.processes, flows, self.masks, self.record, self._present, cgroups)
        self.steps = Steps(self.record, self.processes, self.phases)
        self._losses = Losses(self._writer, self.steps.in_force)
        self._zygote = Connection(
            self._selector,
            boundary.channel,
            priority=_BOUNDARY_PRIORITY,
            received=self._zygote_said,
            lost=lambda connection: self._end(Outcome(None, "remit", "the zygote died")),
            receiver=boundary.receiver,
        )
        gateway = GatewayRequests(self._network.connections, self.processes, self.record)
        self.requests = Requests(self, self.steps, self.processes, self._zygote.send, gateway, self.record)
        received, lost = self.requests.received, self.requests.lost
        self._control = ControlSocket(
            self._selector, self._writer.directory, self.processes, record=self.record, received=received, lost=lost
        )
        self._register(boundary.deputy_channel.fileno(), _BOUNDARY_PRIORITY, self._deputy_ready)
        self._register(children.descriptor, _CHILD_PRIORITY, lambda events: children.reap())
        self._register(boundary.listener, _QUESTION_PRIORITY, self._questions_ready)
        self._register(self._engine.output, _VERDICT_PRIORITY, self._engine_ready)
        self._register(self._notary.answers, _CHILD_PRIORITY, self._notary_ready)

    def record(self, kind: str, **members: Any) -> int:
        """Append one record; it is written at the end of this turn."""
        if self._proof is not None and self._proof.takes(kind, members):
            return 0
        self.denials += bool(members.get("refused") and not members.get("routine"))
        if kind == "open" and not members["refused"]:
            self._persistence.opened(members["path"])
        self._seen.recorded(kind, members.get("process"))
        return self._losses.append(kind, self._redactor.members(kind, members))

    def prove(self, names: Iterable[str] = CHOSEN, **more: Any) -> list[Result]:
        """Have attempts made before any program of the agent runs; record and return their results.

        `more` is for `Proof`. No results when the session ended meanwhile; raises BoundaryError when they never come.
        """
        proof = self._proof = Proof(self._plan, self.processes, names, **more)
        self._zygote.send(proof.request(self._writer.directory, self._boundary))
        proof.load()
        while self._outcome is None and not proof.over():
            self._turn()
        self._proof = None
        if self._outcome is None and any(map(pidfd.has_exited, self._insiders)):
            self._end(Outcome(None, "remit", "what acts for the agent died"))
        if self._outcome is not None:
            return []
        results = proof.results(self._boundary)
        self.record("attempts", results=describe(proof.attempts, results))
        return results

    def refuse_to_start(self) -> None:
        """A wall did not hold: the session is closed before it has run anything."""
        self._end(Outcome(None, "remit", "a wall did not hold"))
        self.run()

    def serve(self, role: str, connection: Any) -> None:
        """Take requests from the harness or the gateway over its own channel."""
        received, lost = self.requests.received, self.requests.lost
        peer = Connection(self._selector, connection, priority=CONTROL_PRIORITY, received=received, lost=lost)
        self.requests.adopt(role, peer)

    def accept_claims(self, temporary_directory: str) -> None:
        """Take down what the session's own processes claim of their steps, at a socket beside this directory."""
        from remit.claims import claims_place  # only where the scope has claims
        from remit.supervisor.claims import ClaimsSocket

        place = claims_place(temporary_directory)
        claims = ClaimsSocket(self._selector, place, self._boundary.deputy, self.processes, self.record)
        self._network.claims, self._losses.claims = claims.inode, claims

    def start_command(self, message: Message) -> None:
        """Start the program whose end is the session's end, in the phase that it names."""
        self.phases.enter(message["phase"], set())
        self._root = self.requests.spawn(message, (), None)

    def watch_launcher(self, descriptor: int, ready: Any) -> None:
        """Listen to the process that started us: its end, and the signals it passes on."""
        self._register(descriptor, CONTROL_PRIORITY, ready)

    def run(self) -> Outcome:
        """Serve until the session has ended, then close it. Raises EvidenceError when evidence cannot be written."""
        try:
            while self._outcome is None:
                self._turn()
        except EvidenceError:
            self._stop_answering()
            self._responder.kill()
            raise
        return self._close(self._outcome)

    def signal_command(self, number: int) -> None:
        self.requests.send_signal(self._root or 0, number)

    def freeze(self, by: str, finding: str | None = None, **why: str) -> int:
        """Stop the whole tree until `resume`; nobody gets an answer meanwhile."""
        self._stop_answering()
        count = self._responder.freeze()
        self.record("response", finding=finding, verdict="freeze", by=by, processes=count, **why)
        return count

    def resume(self, by: str) -> int:
        if not self.frozen:
            return 0
        self.frozen = False
        self._register(self._boundary.listener, _QUESTION_PRIORITY, self._questions_ready)
        count = self._responder.resume()
        self.record("response", finding=None, verdict="resume", by=by, processes=count)
        return count

    def kill(self, by: str, finding: str | None = None, ended_by: str | None = None) -> int:
        """Kill the whole tree and end the session."""
        count = self._kill(by, finding)
        self._end(Outcome(None, "remit", ended_by or by))
        return count

    def finish(self) -> None:
        """The harness is done, or gone."""
        self._end(Outcome(None, "command", "harness"))

    def launcher_gone(self) -> None:
        self._end(Outcome(None, "remit", "the launcher died"))

    def _turn(self) -> None:
        waits = (self._sampler.wait(), self._engine.due_in(), self._made.wait())
        ready = self._selector.select(min(waits))
        self._made.look()
        for key, events in sorted(ready, key=lambda pair: pair[0].data.priority):
            # An earlier handler of this turn may have closed what a later one was ready for.
            current = self._selector.get_map().get(key.fd)
            if current is not None and current.data is key.data:
                key.data.ready(events)
            if self._outcome is not None:
                break
        if not self._sampler.wait():
            self._sample()
        if self._writer.flush():
            self._engine.ring()
            self._notary.flushed(self._writer)
        self._engine.ring_if_due()
        if not self._writer.full:
            self._losses.settle()
        elif self._plan.when_full == "end" and self._outcome is None:
            self.kill("full disk", ended_by="evidence.when-full")

    def _sample(self) -> None:
        if self._writer.full:
            self._writer.retry()
        self._made.sweep()
        self.phases.look_for_late_ones()
        reason = self._sampler.take()
        if reason is not None and self._outcome is None:
            self.kill(reason.by, ended_by=reason.ended_by)

    def _zygote_said(self, connection: Connection, message: Message) -> None:
        if "spawned" in message:
            self.processes.forget_prover()  # the zygote starts nothing before that has ended
            self.requests.spawned(message["spawned"], message["pid"])
            if message["spawned"] == self._root:
                self.steps.controllers.add(message["pid"])
        elif "exited" in message:
            self._program_ended(message["exited"], message["status"])
        elif "refused" in message:
            self._program_ended(message["refused"], 126 << 8)
        elif self._proof is not None and self._proof.heard(message):
            pass
        elif "lost" in message:
            self._end(Outcome(None, "remit", "the deputy died"))

    def _program_ended(self, number: int, status: int) -> None:
        self._made.ended()
        self.requests.ended(number, status)
        if number == self._root:
            self._end(Outcome(status))

    def _spawn_of(self, pid: int) -> Spawned | None:
        found = self.requests.lookup(pid)
        if found is None:
            self._zygote.read_now()  # it says who the child is before it lets the child run
            found = self.requests.lookup(pid)
        return found

    def _engine_ready(self, events: int) -> None:
        verdicts = self._engine.receive(self._writer)
        if verdicts is None:
            self._selector.unregister(self._engine.output)
            self._end(Outcome(None, "remit", "the engine died"))
            return
        for verdict in verdicts:
            if verdict["verdict"] == "kill" and self._outcome is None:
                self.kill("engine", verdict["finding"], ended_by=f"verdict on {verdict['behaviour']}")
            elif verdict["verdict"] == "freeze" and not self.frozen and self._outcome is None:
                self.freeze("engine", verdict["finding"])
                self.on_freeze(f"the verdict on {verdict['behaviour']}")

    def _notary_ready(self, events: int) -> None:
        if not self._notary.receive(self._writer):
            self._selector.unregister(self._notary.answers)

    def _questions_ready(self, events: int) -> None:
        if not self._questions.serve():
            self._stop_answering()  # nobody is left under the filter

    def _flooded(self, process: Process) -> None:
        """A program asked more than anybody needs to: nobody gets an answer until a person has looked at it."""
        self.freeze("rate-limit", process=process.identity, clause=CLAUSE)
        self.on_freeze("the limit on questions")

    def _deputy_ready(self, events: int) -> None:
        if not self._deputy.receive():
            self._selector.unregister(self._boundary.deputy_channel)
            self._end(Outcome(None, "remit", "the deputy died"))

    def _watch(self, process: Process) -> None:
        self._register(process.pidfd, _DEATH_PRIORITY, lambda events: self._process_ended(process))

    def _unwatch(self, process: Process) -> None:
        self._selector.unregister(process.pidfd)

    def _process_ended(self, process: Process) -> None:
        self._stops.unread(process)
        self._deputy.caller_gone(process)
        self._made.ended(process.identity)
        self.processes.forget(process)

    def _present(self) -> set[int]:
        return self._responder.descendants()

    def _register(self, descriptor: int, priority: int, ready: Any) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, Watch(priority, ready))

    def _stop_answering(self) -> None:
        if not self.frozen:
            self.frozen = True
            self._selector.unregister(self._boundary.listener)

    def _end(self, outcome: Outcome) -> None:
        if self._outcome is None:
            self._outcome = outcome

    def _kill(self, by: str, finding: str | None) -> int:
        self._stop_answering()
        count, survivors = self._responder.kill()
        self.record("response", finding=finding, verdict="kill", by=by, processes=count, survivors=len(survivors))
        return count

    def _close(self, outcome: Outcome) -> Outcome:
        """Nothing of the agent outlives its session: without a supervisor its calls could only fail."""
        if self._sampler.ran_out_of_memory(outcome.ended_by):
            self._kill("budget", None)
            outcome = Outcome(None, "remit", "compute.memory")
        left = [process.identity for process in self.processes.running()]
        for descriptor in self._insiders:  # first of all, so that nothing more is started
            pidfd.send_signal(descriptor, signal.SIGKILL)
        if left or self.requests.spawns:  # a program that was started a moment ago has asked nothing yet
            self._stop_answering()
            self._responder.kill()
            for process in self.processes:
                self.processes.forget(process)
        if (persistence := self._persistence.left()) is not None:
            self.record("persistence", **persistence)
        self._losses.settle(last=True)
        self.record(
            "end",
            status=None if outcome.status is None else os.waitstatus_to_exitcode(outcome.status),
            exit_source=outcome.exit_source,
            ended_by=outcome.ended_by,
            left_running=left,
        )
        self._writer.flush_all()
        self._engine.ring(at_once=True)
        self._engine.drain(self._writer)
        self.record("closed", findings=len(self._engine.severities))
        self._writer.flush()
        self._notary.finish(self._writer)
        self._notary.dismiss()  # it ends while the evidence is made durable
        self._control.close()
        self._writer.close()
        # Reaped here, for in a container nobody else may ever do it.
        self._responder.wait_for_children()
        return outcome
