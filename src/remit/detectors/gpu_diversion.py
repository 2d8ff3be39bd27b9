"""gpu-diversion: a process reaches for a GPU although the task was given none.

What it recognises
    A device node of class gpu that is opened for use while the scope grants no GPU. A refusal counts, and so does a
    node that does not exist: what was tried is the finding, the wall or the missing node is why it failed.

Why it matters
    Accelerators are what is worth taking on a training host, and reaching for one is how a diversion begins.

How it tells the benign twin apart
    Listing /dev, stat, and libraries that look at a node read-only use nothing; a scope that grants a GPU makes its use
    no finding. Opening several nodes is one finding for the program in its step.

Blind spots
    A library that initialises a GPU runtime because it is there opens the node for use too, and is reported at medium
    severity like any other. A node that is reached through a descriptor from outside the session.

References
    ATT&CK T1496.001 Resource Hijacking: Compute Hijacking; ATLAS AML.T0034.002 Agentic Resource Consumption;
    OWASP Agentic ASI10 Rogue Agents.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.detectors.context import Context
from remit.events import Event, Open, Session
from remit.findings import Sighting, printable

TECHNIQUES = ("T1496.001", "AML.T0034.002", "ASI10")
WRITING = 0o3  # O_ACCMODE: a GPU is used through a node that is open for writing


def grants_gpu(scope: dict[str, object]) -> bool:
    """Whether the scope grants any GPU: `devices: {gpu: ...}` other than none."""
    devices = scope.get("devices")
    granted = devices.get("gpu") if isinstance(devices, dict) else None
    return granted not in (None, "none", False, 0, [])


class GpuDiversion:
    behaviour = "gpu-diversion"
    wants: frozenset[type] = frozenset({Open})

    def __init__(self, session: Session) -> None:
        self.session = session

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        if not isinstance(event, Open) or event.device_class != "gpu" or not event.flags & WRITING:
            return
        if grants_gpu(self.session.scope):
            return
        program = context.program(event.process)
        name = context.name(event)
        state = "attempted" if event.errno or event.refused else "succeeded"
        outcome = "there is none" if event.absent else "refused" if event.refused else "failed"
        text = f"{name}: it opened {event.path} for use" + (f"; {outcome}" if state == "attempted" else "")
        severity = "medium" if state == "attempted" else "high"
        clause = event.clause or "devices.gpu"
        yield Sighting(program, event.process, state, severity, TECHNIQUES, printable(text, 400), clause, (event.n,))
