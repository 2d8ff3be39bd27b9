"""The step marks of a session, and what each step leaves running when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.errors import StepError
from remit.protocol import Message
from remit.supervisor.channels import held_channels, steering_channel
from remit.supervisor.phases import Phases
from remit.supervisor.processes import ProcessTable

STEP_ID_MAX = 256
CLAIMED = "claim:"  # as in remit.claims, which is not loaded for this alone


class Steps:
    """Which steps are open. `controllers`: the processes outside, or the agent's own, that may steer a shell."""

    def __init__(self, record: Callable[..., Any], processes: ProcessTable, phases: Phases) -> None:
        self._record = record
        self._phases = phases
        self._processes = processes
        self._open: dict[str, dict[str, Any]] = {}
        self._seen: set[str] = set()
        self.controllers: set[int] = set()
        self._callers: set[str] = set()  # processes that were given tool calls, by identity

    def begin(self, request: Message, source: str) -> None:
        """Open a step. Raises StepError when its id is empty, too long, or was used before, or for its phase."""
        step = request.get("step")
        if not isinstance(step, str) or not 0 < len(step) <= STEP_ID_MAX:
            raise StepError(
                f"step id must be 1 to {STEP_ID_MAX} characters: {step!r:.40}", hint="the tool call's own id"
            )
        if step.startswith(CLAIMED):
            raise StepError(f"step id is one of a claim: {step}", hint=f"an id that does not begin with {CLAIMED}")
        if step in self._seen:
            raise StepError(f"step id was used before: {step}", hint="each step of a session has an id of its own")
        caller = str(request["caller"]) if "caller" in request else None
        if caller is None:
            phase = request.get("phase")
            self._phases.enter(phase, {common["phase"] for common in self._open.values()})
        else:
            phase = self._phases.of(caller)  # whoever is given a call runs it where itself is
        self._seen.add(step)
        common = {"step": step, "tool": request.get("tool"), "phase": phase}
        self._open[step] = common
        more: dict[str, Any] = {}
        if caller is not None:
            # Whoever is given a tool call runs it, and may speak to a shell that it keeps.
            more["caller"] = caller
            self._callers.add(caller)
        if "declared" in request:
            more["declared"] = request["declared"]
        self._record("step", mark="begin", **common, arguments=request.get("arguments"), source=source, **more)

    def end(self, step: str, source: str) -> None:
        """Close a step, with what is still running and which of that could still be told what to do."""
        common = self._open.pop(step, None)
        if common is None:
            raise StepError(f"step is not open: {step}", hint="a step begins once and ends once")
        processes = self._processes.running()
        callers = {process.pid for process in processes if process.identity in self._callers}
        self._callers &= {process.identity for process in processes}
        held = self._held_by(self.controllers | callers)
        shared = []
        for process in processes:
            if process.pid in self.controllers:
                continue
            others = (self.controllers | callers) - {process.pid}
            try:
                # A process that calls the model may itself be told what to do, by others.
                its = self._held_by(others) if process.pid in callers else held
                through = steering_channel(process, its, others)
            except ProcessLookupError:
                continue
            except PermissionError:
                through = "unreadable"
            if through is not None:
                shared.append({"process": process.identity, "through": through})
        running = [process.identity for process in processes]
        self._record("step", mark="end", **common, arguments=None, source=source, left_running=running, shared=shared)

    def _held_by(self, controllers: set[int]) -> set[str] | None:
        """What could steer a shell, or None when it cannot be read: then any channel might be shared."""
        held: set[str] = set()
        for controller in controllers:
            try:
                held |= held_channels(controller)
            except ProcessLookupError:
                continue
            except PermissionError:
                return None
        return held

    def in_force(self) -> tuple[str, ...]:
        return tuple(self._open)

    def phase_of(self, step: str | None) -> str | None:
        return self._open[step]["phase"] if step in self._open else None

    def is_open(self, step: str) -> bool:
        return step in self._open
