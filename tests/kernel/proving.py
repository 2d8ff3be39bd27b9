"""A boundary that is put up, tried by chosen attempts, and taken down again, without an engine."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from remit.attempts.attempt import Outcome, Outside, Result, judge
from remit.attempts.catalogue import BY_NAME
from remit.boundary.launch import begin_boundary, remember_dispositions
from remit.boundary.mask_mounts import lay_out
from remit.doctor.examination import ENVIRONMENT, PROGRAM, recorded_effects
from remit.evidence.reader import read_records
from remit.evidence.redact import Redactor
from remit.evidence.writer import EvidenceWriter
from remit.kernel import files, process
from remit.plan import Plan
from remit.supervisor.engine_pipe import EnginePipe
from remit.supervisor.loop import Supervisor
from remit.supervisor.notary_pipe import NotaryPipe

Act = Callable[[Path], list[Result]]


def prove(
    plan: Plan, names: Sequence[str], outside: Outside, *, before: Callable[[], None] = lambda: None
) -> list[Result]:
    """The results of these attempts, made as at every start: by a child of the zygote, after those before the filter.

    `before` may change the process that puts the walls up, which is not the caller's.
    """

    def act(folder: Path) -> list[Result]:
        before()
        supervisor = _supervisor(plan, folder)
        results = supervisor.prove(names, outsiders=outside, strict=True)
        supervisor.refuse_to_start()
        return results

    return _apart(act)


def examine_alone(plan: Plan, names: Sequence[str], outside: Outside) -> list[Result]:
    """The results of these attempts, made as the doctor does: by the program that a session runs."""

    def act(folder: Path) -> list[Result]:
        words = [{"outside": outside.members()}, *({"attempt": name} for name in names)]
        (folder / "requests").write_text("".join(json.dumps(word) + "\n" for word in words))
        _redirect(folder)
        supervisor = _supervisor(plan, folder)
        supervisor.start_command(
            {
                "arguments": PROGRAM,
                "environment": ENVIRONMENT,
                "directory": plan.workspace,
                "new_session": False,
                "phase": None,
            }
        )
        supervisor.run()
        answers = [json.loads(line) for line in (folder / "answers").read_text().splitlines()]
        return _judge(names, answers, list(read_records(folder / "evidence")))

    return _apart(act)


def _judge(names: Sequence[str], answers: list[dict[str, Any]], records: list[dict[str, Any]]) -> list[Result]:
    results, begin = [], 0
    for name, answer in zip(names, answers, strict=True):
        (end,) = [i for i, r in enumerate(records) if r["kind"] == "open" and r["asked"] == answer["mark"]]
        mine = records[begin:end]
        outcome = Outcome(**answer["outcome"])
        results.append(judge(BY_NAME[name], outcome, records=mine, effects=recorded_effects(mine), strict=True))
        begin = end
    return results


def _apart(act: Act) -> list[Result]:
    """Do it in a process of its own, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="remit-prove-") as folder:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                said: Any = [result._asdict() for result in act(Path(folder))]
            except BaseException as problem:
                said = {"failed": repr(problem)}
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
        os.close(writer)
        text = b""
        while piece := os.read(reader, 65536):
            text += piece
        os.close(reader)
        os.waitpid(child, 0)
    found = json.loads(text)
    assert isinstance(found, list), found
    return [Result(**members) for members in found]


def _supervisor(plan: Plan, folder: Path) -> Supervisor:
    os.setsid()
    signal.set_wakeup_fd(-1)
    process.set_child_subreaper()
    (folder / "evidence").mkdir(mode=0o700)
    (folder / "temporary").mkdir(mode=0o700)
    covers = lay_out(plan.masks, str(folder / "temporary"))
    boundary = begin_boundary(plan, str(folder / "temporary"), remember_dispositions(), covers).wait()
    # Nobody reads the doorbell or has anything to conclude, and that is seen only when the session is over.
    doorbell, verdicts, heads, answers = (os.pipe() for _ in range(4))
    engine, notary = EnginePipe(doorbell[1], verdicts[0]), NotaryPipe(heads[1], answers[0])
    engine.lost, notary.lost = True, "there is none"
    evidence = EvidenceWriter(folder / "evidence", files.allocate)
    supervisor = Supervisor(plan, str(folder / "temporary"), boundary, evidence, engine, notary, Redactor())
    supervisor.record("session")
    return supervisor


def _redirect(folder: Path) -> None:
    os.dup2(os.open(folder / "requests", os.O_RDONLY), 0)
    os.dup2(os.open(folder / "answers", os.O_WRONLY | os.O_CREAT, 0o600), 1)
