"""Renders a report as what a person wants to know, the verdict first; every string was cleaned before it gets here."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from remit.report.clean import clean, one_line
from remit.report.words import advice

WIDTH = 100
LONGEST_LIST = 12

Item = dict[str, Any]


def render_text(report: Item) -> str:
    """The whole report, ending with a newline."""
    # Line breaks of a command become spaces before cleaning would turn them into marks.
    asked = [_short(step["arguments"]) for step in report["steps"]]
    said = [one_line(step["said"], WIDTH - 12) for step in report["steps"]]
    last = one_line(report["said_last"], WIDTH - 12)
    claims = [{**claim, "arguments": _short(claim["arguments"])} for claim in report["claims"][:LONGEST_LIST]]
    hidden = len(report["claims"]) - len(claims) + report["claims_not_listed"]
    report = clean({**report, "said_last": last, "claims": claims, "claims_hidden": hidden})
    report["steps"] = [
        {**step, "arguments": words, "said": text}
        for step, words, text in zip(report["steps"], asked, said, strict=True)
    ]
    parts = [
        *(
            _verdict,
            _findings,
            _phases,
            _steps,
            _claims,
            _denials,
            _observed,
            _held,
            _gaps,
            _losses,
            _redacted,
            _left_running,
            _left_behind,
        ),
    ]
    blocks = ["\n".join(_head(report["session"])), *("\n".join(part(report)) for part in parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _short(arguments: Any) -> str | None:
    return None if arguments is None else one_line(arguments, 60)


def _head(session: Item) -> Iterator[str]:
    if session["observe"]:
        yield "NOTHING WAS ENFORCED: this session was only observed. Of what a scope could grant only UDP was refused."
        yield ""
    yield f"task      {session['task']}" + (f": {session['purpose']}" if session["purpose"] else "")
    yield f"session   {session['id']}  ({session['tier']} tier, sight {session['sight']})"
    if session["arguments"]:
        yield f"command   {one_line(' '.join(session['arguments']))}"
    if session["labels"]:
        yield f"labels    {' '.join(f'{name}={value}' for name, value in session['labels'].items())}"
    until = session["ended"] or ("now: it is still running" if session["running"] else "unknown")
    yield f"time      {session['began']} to {until}"
    if not session["closed"] and not session["running"]:
        yield "          not closed: the recording was cut off"


def _verdict(report: Item) -> Iterator[str]:
    session, findings, denials = report["session"], report["findings"], report["denials"]
    yield f"VERDICT   {_headline(findings, denials, report['observed'], report['lost'], session)}"
    for response in report["responses"]:
        if response["tasks_refused"]:
            yield f"  the kernel refused processes or threads {response['tasks_refused']} times: {response['clause']}"
            continue
        if response["verdict"] == "record":
            yield f"  it would have been ended here: {response['clause']}"
            continue
        cause = f" for finding {response['finding']}" if response["finding"] else ""
        reached = f"which reached {response['processes']} process(es)"
        yield f"  {response['verdict']} by the {response['by']}{cause}, {reached}"
    if session["ended"]:
        yield f"  {_ending(session)}"
    elif session["running"] and _is_frozen(report["responses"]):
        yield "  it is frozen until `remit resume`, or ended by `remit stop --kill`"
    if session["status"] and not denials and not session["observe"] and session["sight"] == "normal":
        yield '  where the command met "Permission denied", a scope grants the path in files.read or files.write'
        yield "  (remit scope explain --text > scope.yaml to begin with); reads, deletes and renames that a wall"
        yield "  refuses leave no record: remit run --sight full"


def _ending(session: Item) -> str:
    if session["exit_source"] == "remit":
        return f"remit ended the session: {session['ended_by']}"
    if session["status"] is None:
        return f"the session was ended by: {session['ended_by']}"
    status = session["status"]
    return f"the command ended with status {status}" if status >= 0 else f"the command was killed by signal {-status}"


def _is_frozen(responses: list[Item]) -> bool:
    acted = [response["verdict"] for response in responses if response["verdict"] != "record"]
    return acted[-1:] == ["freeze"]


def _headline(findings: list[Item], denials: list[Item], observed: list[Item], lost: Item, session: Item) -> str:
    """What can be said of the whole session; of one that was cut short or goes on, not that it is in scope."""
    if findings:
        behaviours = ", ".join(dict.fromkeys(f"{item['behaviour']} ({item['state']})" for item in findings))
        return f"out of scope: {behaviours}"
    if observed:
        acts = sum(act["count"] for act in observed)
        return f"out of scope: {acts} act(s) that would have been refused, and no finding"
    if denials:
        acts = sum(denial["count"] for denial in denials)
        return f"stayed inside, after {acts} refused act(s) and no finding"
    if lost:
        return "unknown: events were lost"
    nothing = "no finding and no refused act"
    if session["running"]:
        return f"open: {nothing} so far"
    if not session["ended"]:
        return f"unknown: {nothing} until the recording was cut off"
    if session["exit_source"] == "remit":
        return f"cut short: {nothing} until it was ended by {session['ended_by']}"
    return f"in scope: {nothing}"


def _findings(report: Item) -> Iterator[str]:
    if report["findings"]:
        yield "WHAT WAS DONE, AND BY WHOM"
    for item in report["findings"]:
        yield f"  {item['id']}  {item['behaviour']}  {item['state']}, {item['severity']}, verdict {item['verdict']}"
        yield from _indented(item["summary"], 6)
        yield from _indented(f"step: {_charged(item)} ({item['attribution']}: {item['reason']})", 6)
        origin = item["origin"]
        yield from _indented(f"who: {origin['who']}, because", 6)
        for reason in origin["reasons"]:
            yield from _indented(f"- {reason}", 8)
        yield from _indented(f"would be refuted by: {origin['refuted_by']}", 6)
        clause = f"; clause {item['clause']}" if item["clause"] else ""
        yield f"      records {', '.join(map(str, item['events']))}{clause}; {', '.join(item['techniques'])}"


def _phases(report: Item) -> Iterator[str]:
    if report["phases"]:
        yield "PHASE BY PHASE"
    for phase in report["phases"]:
        until = phase["ended"] or "9999"
        own = [step for step in report["steps"] if step["phase"] == phase["name"]]
        steps = sum(phase["began"] <= step["began"] <= until for step in own)
        yield f"  {phase['name']}  from {phase['began']} to {phase['ended'] or 'now'}, {steps} step(s)"
        names = ", ".join(_program(process) for process in phase["left_running"][:LONGEST_LIST])
        if names:
            done = "left running, and ended" if phase["survivors"] == "end" else "left running"
            hidden = len(phase["left_running"]) - LONGEST_LIST
            yield f"      {done}: {names}" + (f" and {hidden} more" if hidden > 0 else "")


def _steps(report: Item) -> Iterator[str]:
    steps = report["steps"]
    if not steps:
        return
    yield "STEP BY STEP"
    widest = max(len(step["id"]) for step in steps)
    for step in steps:
        what = f"{step['tool']}: {step['arguments']}" if step["arguments"] is not None else step["tool"]
        what += f"  (phase {step['phase']})" if step["phase"] else ""
        yield f"  {step['id']:<{widest}}  {step['state']:<12}  {what}".rstrip()
        if step["said"]:
            yield f"  {'':<{widest}}  said: {step['said']}"
        if step["lost"]:
            yield f"  {'':<{widest}}  {step['lost']} event(s) were lost during this step"
        if step["left_running"]:
            names = ", ".join(_program(process) for process in step["left_running"][:LONGEST_LIST])
            hidden = len(step["left_running"]) - LONGEST_LIST
            yield f"  {'':<{widest}}  left running: {names}" + (f" and {hidden} more" if hidden > 0 else "")
    if report["said_last"]:
        yield f"  {'':<{widest}}  said last: {report['said_last']}"


def _claims(report: Item) -> Iterator[str]:
    if report["claims"]:
        yield "CLAIMED FROM INSIDE, NEVER MORE THAN LIKELY"
    for claim in report["claims"]:
        said = "" if claim["arguments"] is None else f": {claim['arguments']}"
        yield f"  {claim['id']}  {claim['tool']}{said}".rstrip()
        who = claim["program"].rpartition("/")[2] or claim["process"] or "a process that was gone"
        filled = f"{claim['event_count']} event(s) may be its own" if claim["heeded"] else "it fills no gap"
        same = "; a step of this id was seen from outside" if claim["same_id_as_step"] else ""
        yield from _indented(f"said by {who}{' after it was over' if claim['late'] else ''}; {filled}{same}", 6)
    if report["claims_hidden"]:
        yield f"  and {report['claims_hidden']} more, most of them in the JSON report"


def _denials(report: Item) -> Iterator[str]:
    yield from _acts("WHAT WAS REFUSED", report["denials"], report["steps"])
    if report["denials"] and report["routine_refusals"]:
        yield f"  not counted: {report['routine_refusals']} writes of programs to settings of their own in /proc"


def _observed(report: Item) -> Iterator[str]:
    yield from _acts("WHAT WOULD HAVE BEEN REFUSED", report["observed"], report["steps"])


def _acts(title: str, acts: list[Item], steps: list[Item]) -> Iterator[str]:
    if acts:
        yield title
    if acts and not steps:
        yield "  (this session has no steps that an act could be charged to)"
    for denial in acts[:LONGEST_LIST]:
        times = f" ({denial['count']} times)" if denial["count"] > 1 else ""
        program = denial["program"].rpartition("/")[2] or denial["process"]
        why = ", ".join(filter(None, (denial["wall"], denial["clause"])))
        act = f"{denial['operation']} {denial['object']}".rstrip()
        yield f"  {denial['id']}  {program}: {act}{times}  [{why}]"
        if steps:
            yield f"      step: {_charged(denial)} ({denial['attribution']})"
        if hint := advice(denial):
            yield f"      hint: {hint}"
    hidden = len(acts) - LONGEST_LIST
    if hidden > 0:
        yield f"  and {hidden} more kinds, in the JSON report"


def _held(report: Item) -> Iterator[str]:
    if not report["walls"]:
        return
    yield "WHAT HELD"
    not_held = "only observed" if report["session"]["observe"] else "OPEN"
    for held, word in ((True, "tried at the start, and held"), (False, not_held), (None, "in force, not tried")):
        names = [f"{wall['name']} ({wall['strength']})" for wall in report["walls"] if wall["held"] is held]
        if names:
            yield from _indented(f"{word}: {', '.join(names)}", 2)
    for attempt in report["attempts"]:
        if attempt["result"] == "open":
            covered = f" (gap {attempt['gap']})" if attempt["gap"] else ""
            yield from _indented(f"open: {attempt['name']}: {attempt['reason']}{covered}", 4)


def _gaps(report: Item) -> Iterator[str]:
    if report["gaps"]:
        yield "GAPS"
    for gap in report["gaps"]:
        accepted = ", accepted" if gap["accepted"] and gap["kind"] == "wall" else ""
        yield from _indented(f"{gap['name']} ({gap['kind']} gap{accepted}): {gap['reason']}", 2)


def _losses(report: Item) -> Iterator[str]:
    if report["lost"]:
        yield "LOST"
    for name, count in report["lost"].items():
        yield f"  {count} event(s) of class {name}"


def _redacted(report: Item) -> Iterator[str]:
    if report["redacted"]:
        yield "REDACTED BEFORE IT WAS WRITTEN"
    for rule, count in report["redacted"].items():
        yield f"  {count} secret(s) by the rule {rule}"


def _left_running(report: Item) -> Iterator[str]:
    if report["left_running"]:
        yield "LEFT RUNNING AT THE END"
    for process in report["left_running"][:LONGEST_LIST]:
        yield f"  {_program(process)}"
    hidden = len(report["left_running"]) - LONGEST_LIST
    if hidden > 0:
        yield f"  and {hidden} more, in the JSON report"


def _left_behind(report: Item) -> Iterator[str]:
    unseen = report["left_behind_not_looked_at"]
    if report["left_behind"] or unseen:
        yield "LEFT BEHIND, FOR PROGRAMS OUTSIDE THE BOUNDARY TO RUN OR FOLLOW"
    for item in report["left_behind"][:LONGEST_LIST]:
        detail = f": {item['detail']}" if item["detail"] else ""
        yield f"  {item['change']:<7}  {item['class']:<10}  {item['path']}{detail}"
    hidden = len(report["left_behind"]) - LONGEST_LIST
    if hidden > 0:
        yield f"  and {hidden} more, in the JSON report"
    if unseen:
        yield f"  and {unseen} directories or more, where nobody looked: there were too many"


def _charged(item: Item) -> str:
    if item["step"]:
        return str(item["step"])
    return "one of " + ", ".join(item["candidates"]) if item["candidates"] else "none"


def _program(process: Item) -> str:
    return f"{process['image'].rpartition('/')[2] or '?'}[{process['process'].partition(':')[0]}]"


def _indented(text: str, columns: int) -> list[str]:
    return wrap(
        text, WIDTH, initial_indent=" " * columns, subsequent_indent=" " * (columns + 2), break_on_hyphens=False
    )
