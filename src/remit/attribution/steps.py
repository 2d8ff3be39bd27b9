"""Every event is charged to the step its process was born in; `proven` is only said of an unbroken lineage.

The rules, in order of strength. Time narrows and never proves; a wrong `proven` is the one unforgivable error.

1. Started by the supervisor for a step: proven.
2. Born of a parent that was read while it lived: as the parent, so proven stays proven through double forks, setsid and
   a parent that is gone.
3. Born of the agent's own process, which has no step: likely, one of the steps in force at the birth; proven when its
   first program is what the arguments of one tool call, and of no other that its parent was given, ask for. So is
   the child of a shell that the agent's own process keeps, when one call's text names it and no other's can mean it.
   Of an MCP server's calls those count too that have ended and may still be at work.
4. Parent unknown: likely, one of the steps of the processes that could be the parent.
5. A shared shell, a process that outlives its step and still hears the harness or the agent: from then on likely; it
   and its later children may act for any step since its birth.

A tool call that a process of step N was given, by a model that it called itself, is a step within N: nobody but that
process's own children is ever charged to it. What is claimed from inside is looked at only where all of this says
nothing (`claims.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.attribution.claims import Claims
from remit.attribution.content import NONE, asks_for, is_named
from remit.attribution.lineage import Charge, Lineage, Process
from remit.attribution.shells import ANY, Asked
from remit.events import Claim, Connect, Event, Exec, Exit, Fork, Loss, ProcessEvent, Step
from remit.findings import Attribution

TICK = 10_000_000  # nanoseconds in a clock tick of /proc/PID/stat; USER_HZ is 100 on every Linux that we run on
SLACK = 2 * TICK  # the start time is rounded down to a tick, and our estimate of the boot time is that much off

NO_STEP = Charge("unknown", None, (), "no step was in force")
OWN = Charge("unknown", None, (), "the agent's own process: it belongs to no step")
UNSEEN = Charge("unknown", None, (), "its birth was not recorded", bounded=False)


class StepRecord:
    """A step as far as it is known: `ended` is None while it is in force."""

    def __init__(self, begin: Step, index: int) -> None:
        self.id, self.tool, self.arguments = begin.step, begin.tool, begin.arguments
        self.phase, self.source, self.caller = begin.phase, begin.source, begin.caller
        self.declared = begin.declared
        self.run = False  # a program was found that is what it asks for
        self.within: tuple[str, ...] = ()  # the step, or the possible steps, of the process that was given the call
        self.began = begin.time
        self.ended: int | None = None
        self.index = index  # position in the order in which steps began


class Attributor:
    """Follows steps and processes; `observe` says to which step an event belongs."""

    def __init__(self) -> None:
        self.lineage = Lineage()
        self.history: list[StepRecord] = []  # in the order in which they began
        self.steps: dict[str, StepRecord] = {}
        self.records_lost = False  # of what happened, on a full disk
        self.claims = Claims()
        self._asked: dict[str, Asked] = {}
        self._in_force: dict[str, int] = {}  # step -> its index in `history`
        self._boot: int | None = None  # real time of the boot, as the smallest of the upper bounds seen

    def observe(self, event: Event) -> Attribution | None:
        """Take one event in, in the order of the evidence. None for events that no process caused."""
        match event:
            case Step():
                self._step(event)
                return None
            case Claim():
                self.claims.observe(event, heeded=self.is_heeded(event))
                return None
            case Fork():
                self._fork(event)
            case Exec():
                self._first_program(self._known(event.process), event)
                self.lineage.ran(event)
            case Exit():
                self._caller_ended(event.process)
                self.lineage.exited(event)
            case Connect():
                self._known(event.process)
                self.lineage.listened(event)
            case Loss() if event.steps is not None:
                self.records_lost = True
        return self.of(event.process) if isinstance(event, ProcessEvent) else None

    def of(self, process_id: str) -> Attribution:
        """To which step an act of this process is charged now."""
        process = self._known(process_id)
        charge = self._now(process)
        if charge in (OWN, NO_STEP):
            return self._claimed(process, charge)
        step = charge.step if charge.step else charge.candidates[0] if len(charge.candidates) == 1 else None
        birth = process.charge.step or (process.charge.candidates[0] if len(process.charge.candidates) == 1 else None)
        record = self.steps.get(step or "")
        phase = record.phase if record else None
        return Attribution(step, charge.attribution, charge.reason, charge.candidates, birth, self.in_force, phase)

    def is_heeded(self, claim: Claim) -> bool:
        """Whether a claim may fill gaps: not that of a process which somebody outside has charged to a step."""
        process = self.lineage.get(claim.process or "")
        return process is not None and process.charge in (OWN, NO_STEP) and not process.hears

    def _claimed(self, process: Process, charge: Charge) -> Attribution:
        """Of a process that nothing from outside ties to a step: what was claimed, or that there is none."""
        an_operators = process.entry is not None and process.entry.source == "exec"
        filled = None if an_operators else self.claims.fill(process.claimed)
        found = filled or charge
        step = found.candidates[0] if len(found.candidates) == 1 else None
        birth = process.claimed[0] if filled and len(process.claimed) == 1 else None
        return Attribution(step, found.attribution, found.reason, found.candidates, birth, self.in_force)

    @property
    def in_force(self) -> tuple[str, ...]:
        """Steps that an act could belong to whoever does it; not those within other steps."""
        return tuple(step for step in self._in_force if not self.steps[step].within)

    def _known(self, process_id: str) -> Process:
        process = self.lineage.get(process_id)
        return process or self.lineage.unseen(process_id, UNSEEN, self._horizon())

    def _step(self, event: Step) -> None:
        if event.mark == "begin":
            record = StepRecord(event, index=len(self.history))
            if event.caller is not None:
                charge = self._known(event.caller).charge
                record.within = (charge.step,) if charge.step else charge.candidates
                if event.declared is not None:
                    self._asked.setdefault(event.caller, Asked()).add(event.step, record.index, event.declared)
            self._in_force[event.step] = record.index
            self.history.append(record)
            self.steps[event.step] = record
            return
        self._in_force.pop(event.step, None)
        if event.step in self.steps:
            self.steps[event.step].ended = event.time
        for process_id in event.shared:
            process = self._known(process_id)
            # The record lists every process that could be spoken to. One whose own step still runs is that step's, and
            # the agent's own processes have no step to outlive: their children go by the steps at their birth.
            if process.charge.step not in self._in_force and process.charge not in (OWN, NO_STEP):
                process.hears = process.shared = True

    def _fork(self, event: Fork) -> None:
        self._set_boot(event)
        known = self.lineage.get(event.process)
        if known is None or known.charge is UNSEEN:
            charge = self._charge(event)
            process = self.lineage.add(event, charge, self._horizon(charge))
            process.open_calls = self._open_calls(event)
            process.shell_calls = self._shell_calls(event, process)
            parent = self.lineage.get(event.parent) if event.parent else None
            process.claimed = (parent.claimed or self.claims.in_force) if parent else ()

    def _charge(self, event: Fork) -> Charge:
        if event.via == "spawn":
            return OWN if event.step is None else _proven(event.step)
        parent = self.lineage.get(event.parent) if event.parent else None
        if event.via == "orphan" or parent is None:
            return self._orphan(event)
        if parent.hears:
            return self._heard(parent)
        if parent.charge in (OWN, NO_STEP):
            return self._at_birth(event)
        return parent.charge

    def _at_birth(self, event: Fork) -> Charge:
        candidates = self._around_birth(event)
        if not candidates:
            return NO_STEP
        if len(candidates) == 1:
            return Charge("likely", None, candidates, f"born of the agent's own process while {candidates[0]} ran")
        return Charge("likely", None, candidates, "born of the agent's own process while one of several steps ran")

    def _open_calls(self, event: Fork) -> tuple[str, ...]:
        """The calls that a new process may be what they ask for: those that its own parent was given."""
        parent = self.lineage.get(event.parent) if event.parent and event.via != "spawn" else None
        return () if parent is None or parent.hears else self._in_force_of(parent.id)

    def _shell_calls(self, event: Fork, process: Process) -> tuple[str, ...]:
        """For a fork of a shell: the calls under way that whoever keeps the shell was given."""
        parent = self.lineage.get(event.parent) if event.parent else None
        if process.kept is None or parent is None:
            return ()
        # What a subshell starts later is still for the calls that were under way when it began.
        earlier = () if parent.ran_since_birth else parent.shell_calls
        return (*earlier, *self._in_force_of(process.kept[0]))

    def _in_force_of(self, caller: str) -> tuple[str, ...]:
        return tuple(step for step in self._in_force if self.steps[step].caller == caller)

    def _first_program(self, process: Process, event: Exec) -> None:
        """What a process runs first decides, and decides for one process only; what comes later is what that does."""
        calls, process.open_calls = process.open_calls, ()
        if event.errno or event.refused or event.truncated:
            return  # of what was cut nobody knows the rest
        if calls and not process.hears:
            self._whole_call(process, event, calls)
        elif process.kept is not None and not process.ran_since_birth:
            self._told_to_shell(process, event, *process.kept)

    def _whole_call(self, process: Process, event: Exec, calls: tuple[str, ...]) -> None:
        # It may have been born in a step that has ended meanwhile, and whose call asked for the same; unless what that
        # asked for has been found.
        ended = (step for step in process.charge.candidates if not self.steps[step].run)
        possible = dict.fromkeys((*calls, *ended, *self._left_over(calls)))
        fits = {step: asks_for(self.steps[step].arguments, event.image, event.arguments) for step in possible}
        best = max(fits.values())
        if best == NONE:
            return
        found = tuple(step for step, fit in fits.items() if fit == best)
        if len(found) > 1:
            if process.charge.attribution == "likely":
                process.charge = Charge("likely", None, found, "several calls in force ask for just this program")
        elif found[0] in calls and found[0] in self._in_force and not self.steps[found[0]].run:
            self.steps[found[0]].run = True
            if (asked := self._asked.get(self.steps[found[0]].caller or "")) is not None:
                asked.whole(found[0])
            reason = f"born of the agent's own process, and what call {found[0]}, alone of those in force, asks for"
            process.charge = Charge("proven", found[0], (), reason)

    def _told_to_shell(self, process: Process, event: Exec, keeper: str, since: int) -> None:
        """A program that a shell started which `keeper`, who was given calls, started after step number `since`."""
        asked, kept_by = self._asked.get(keeper), self.lineage.get(keeper)
        if asked is None or kept_by is None or not is_named(event.image, event.arguments):
            return
        born, calls = process.charge.step, process.shell_calls
        if born is not None and born != kept_by.charge.step:
            return  # proven already, and not to be that of an agent within the step
        possible = asked.possible(since, event.arguments)
        # Of steps that others were given, and of calls that name no program, nothing is known but that it may be
        # theirs; an agent that a step started is given its calls within that step.
        around = {kept_by.charge.step, *kept_by.charge.candidates}
        others = (step for step in self._now(process).candidates if self.steps[step].caller != keeper)
        dark = (step for step in self._in_force_of(keeper) if self.steps[step].declared is None)
        possible |= {step: ANY for step in (*others, *dark) if step not in around and step not in possible}
        step, words = next(iter(possible.items()), ("", ANY))
        if born and (not step or self.steps[step].within != (born,)):
            return
        if len(possible) > 1 or words == ANY or step not in calls:
            if all(step in calls for step in possible):
                asked.undecided(possible)
            self._narrow(process, tuple(possible))
            return
        asked.seen(step, words)
        charge = Charge(
            "proven", step, (), f"started by a shell of the agent's own process, and named by call {step} alone"
        )
        self._settle(process, charge)
        fork = self.lineage.get(process.parent or "")
        if fork is not None and fork.kept is not None and fork.ran_since_birth:
            # The shell itself has come to this call's text, so that it is through with what it was told before.
            fork.kept = (keeper, self._still_open(since, self.steps[step].began))
        while fork is not None and fork.kept is not None and not fork.ran_since_birth:
            self._settle(fork, charge)  # a subshell runs one call's text
            fork = self.lineage.get(fork.parent or "")

    def _still_open(self, since: int, moment: int) -> int:
        """The first step from `since` on that had not ended by then."""
        for record in self.history[since:]:
            if record.ended is None or record.ended > moment:
                return record.index
        return len(self.history)

    def _settle(self, process: Process, charge: Charge) -> None:
        process.charge = charge
        process.hears = process.shared = False

    def _narrow(self, process: Process, possible: tuple[str, ...]) -> None:
        charge = self._now(process)
        left = tuple(step for step in charge.candidates if step in possible)
        if left and charge.attribution == "likely" and not process.hears:
            process.charge = Charge("likely", None, left, charge.reason)

    def _left_over(self, calls: tuple[str, ...]) -> Iterator[str]:
        """Earlier calls to the same MCP server that may still be at work: it answered them, or its client gave them up,
        and no program that they ask for was found. A server may queue and schedule as it likes."""
        servers = {self.steps[step].caller for step in calls if self.steps[step].source == "mcp"}
        for record in self.history if servers else ():
            if record.caller in servers and record.ended is not None and not record.run:
                yield record.id

    def _caller_ended(self, process_id: str) -> None:
        """Nobody is left to run the calls that it was given."""
        for step in [step for step in self._in_force if self.steps[step].caller == process_id]:
            del self._in_force[step]

    def _orphan(self, event: Fork) -> Charge:
        if not event.candidates:
            return Charge("unknown", None, (), "its parent was gone before it could be read", bounded=False)
        found: list[str] = []
        bounded = True
        for candidate in event.candidates:
            parent = self.lineage.get(candidate)
            if parent is None:
                bounded = False
                continue
            charge = self._heard(parent) if parent.hears else parent.charge
            if charge in (OWN, NO_STEP):
                charge = self._at_birth(event)
            found += (charge.step,) if charge.step else charge.candidates
            bounded = bounded and charge.bounded
        steps = tuple(dict.fromkeys(found))
        if not bounded:
            return Charge("unknown", None, steps, "its parent was gone, and not all that it could be are known", False)
        if not steps:
            return NO_STEP
        return Charge("likely", None, steps, "its parent was gone before it could be read")

    def _heard(self, parent: Process) -> Charge:
        """What a child of a shared shell, born now, is charged to."""
        now = self._now(parent)
        return Charge("likely" if now.bounded else "unknown", None, now.candidates, _SHARED, now.bounded)

    def _now(self, process: Process) -> Charge:
        charge = process.charge
        if not process.hears:
            return self._own(charge) if charge in (OWN, NO_STEP) else charge
        later = [record.id for record in self.history[process.born_at_step :]]
        born = (charge.step,) if charge.step else charge.candidates
        # A shell acts most likely for what runs now; a child of a shell for what ran when it was born.
        found = [*self.in_force, *reversed(later), *born] if process.shared else [*born, *self.in_force, *later]
        candidates = tuple(dict.fromkeys(found))
        if not candidates or not charge.bounded:
            return Charge("unknown", None, candidates, _SHARED, bounded=charge.bounded)
        return Charge("likely", None, candidates, _SHARED)

    def _own(self, charge: Charge) -> Charge:
        """An act of the agent's own process belongs to no step by birth; the steps in force narrow it."""
        if not self._in_force:
            return charge
        return Charge("likely", None, self.in_force, "done by the agent's own process while this ran")

    def _horizon(self, charge: Charge = NO_STEP) -> int:
        """The first step that a process with this charge can hear: the fork may be recorded after that step ended."""
        steps = (charge.step,) if charge.step else charge.candidates
        known = [self.steps[step].index for step in steps if step in self.steps]
        return min([*known, *self._in_force.values()], default=len(self.history))

    def _set_boot(self, event: Fork) -> None:
        start = _start(event.process)
        if start is not None:
            bound = event.time - start * TICK
            self._boot = bound if self._boot is None else min(self._boot, bound)

    def _around_birth(self, event: Fork) -> tuple[str, ...]:
        """The steps in force now, and those in force when the start time says the process was born.

        A child is often recorded some time after its birth: at its own first question, or its parent's next one.
        """
        start = _start(event.process)
        found = list(self.in_force)
        if start is not None and self._boot is not None:
            earliest = self._boot + start * TICK - SLACK
            latest = self._boot + (start + 1) * TICK
            for record in reversed(self.history):
                if not record.within and record.began <= latest and (record.ended is None or record.ended >= earliest):
                    found.append(record.id)
        return tuple(dict.fromkeys(found))


_SHARED = "a shell that outlived its step and still hears the harness; it may act for any of these"


def _proven(step: str) -> Charge:
    return Charge("proven", step, (), f"started by the supervisor for step {step}")


def _start(process: str) -> int | None:
    text = process.partition(":")[2]
    return int(text) if text.isdecimal() else None
