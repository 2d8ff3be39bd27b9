"""Says who did it (agent, operator, outsider, unknown), with the reasons, and with what would refute it.

The claim rests on lineage: everything under the session's filter descends from what the supervisor started, so an
outsider needs a way in, such as a listening socket. `outsider` is therefore never concluded in this tier; a way in that
cannot be excluded makes the answer `unknown`.
"""

from __future__ import annotations

import json

from remit.attribution.lineage import Entry, Process
from remit.attribution.steps import Attributor
from remit.findings import Attribution, Origin


def origin_of(attributor: Attributor, process_id: str, attribution: Attribution) -> Origin:
    """Who is behind an act of this process, which is charged as `attribution` says."""
    process = attributor.lineage.get(process_id)
    if process is None or process.entry is None:
        return Origin(
            "unknown",
            ("how the process came into the session was not recorded",),
            "a record that ties the process to something the supervisor started",
        )
    if process.entry.source == "exec" and process.entry.step is None:
        return Origin(
            "operator",
            ("it descends from a command that was started with remit exec, without a step", _chain(process)),
            "a shell history or a log that shows the agent's harness running remit exec",
        )
    return _agent(attributor, process, process.entry, attribution)


def _agent(attributor: Attributor, process: Process, entry: Entry, attribution: Attribution) -> Origin:
    reasons = [_entry_reason(attributor, entry)]
    if process.unbroken:
        reasons.append(f"its lineage from there is unbroken: {_chain(process)}")
    else:
        reasons.append("one parent was gone before it could be read; all that it could be came in the same way")
    strangers = attributor.lineage.strangers
    reasons.append(
        f"an operator put {strangers} other command(s) into the session, none of them an ancestor"
        if strangers
        else "no other process entered the session"
    )
    named = _named_by_step(attributor, process, attribution)
    if named:
        reasons.append(named)
    if process.listens and not named:
        reasons.append(f"but it, or an ancestor, listens on {process.listens}, and accepts are not seen in this tier")
        return Origin("unknown", tuple(reasons), f"the traffic on {process.listens}: who connected, and what was sent")
    if attributor.records_lost:
        reasons.append("but records were lost, and what came in meanwhile was not seen")
        return Origin("unknown", tuple(reasons), "the records that were lost")
    if entry.step is None and not entry.first and entry.source is None:
        reasons.append("but who asked for that start was not recorded")
        return Origin("unknown", tuple(reasons), "the log of whoever could reach the control socket")
    refuted = "a model transcript without this tool call, or somebody else at the harness"
    if process.listens:
        refuted += f", or commands that came in on {process.listens}"
    return Origin("agent", tuple(reasons), refuted)


def _entry_reason(attributor: Attributor, entry: Entry) -> str:
    if entry.step is None:
        return "it descends from the command that the supervisor started for this session"
    step = attributor.steps.get(entry.step)
    tool = f" ({step.tool})" if step and step.tool else ""
    through = " through remit exec" if step and step.source == "exec" else ""
    return f"it descends from what the supervisor started{through} for tool call {entry.step}{tool}"


def _named_by_step(attributor: Attributor, process: Process, attribution: Attribution) -> str:
    """Whether the arguments of the tool call name the program, which ties the act to what the model wrote."""
    step = attributor.steps.get(attribution.step or "")
    if step is None or step.arguments is None:
        return ""
    said = step.arguments if isinstance(step.arguments, str) else json.dumps(step.arguments)
    words = [process.image, *process.arguments[:1], *_script(process.arguments)]
    for word in words:
        name = word.rpartition("/")[2]
        if len(name) > 1 and name in said:
            return f"the arguments of tool call {step.id} name {name}"
    return ""


def _script(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The script that an interpreter was given, if the first argument is one."""
    return arguments[1:2] if len(arguments) > 1 and not arguments[1].startswith("-") else ()


def _chain(process: Process) -> str:
    return " > ".join((*process.chain, process.label))
