"""Makes every attempt inside one real session, and judges each by what was said inside, recorded, and done outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import remit
from remit.attempts.attempt import Attempt, Outcome, Outside, Result, judge
from remit.attempts.catalogue import ATTEMPTS
from remit.boundary.cache import plans_root
from remit.doctor.outsiders import SECRET, VARIABLE, Outsiders
from remit.errors import RemitError
from remit.evidence.reader import Follower
from remit.evidence.record import decode_record
from remit.scope.gaps import WALL_NAMES

AT_MOST = 24
_PACKAGES = os.path.dirname(os.path.dirname(remit.__file__))
# The interpreter itself, without what a virtual environment adds to it.
PROGRAM = [os.path.realpath(sys.executable), "-S", "-B", "-P", "-m", "remit.attempts.program"]
ENVIRONMENT = {"PYTHONPATH": _PACKAGES}
_SECONDS = 60.0

Progress = Callable[[Attempt, Result], None]


def examine(progress: Progress, attempts: Sequence[Attempt] = ATTEMPTS) -> tuple[list[Result], dict[str, Any]]:
    """Make the attempts; their results and the session's header record. Raises RemitError when no session starts."""
    with tempfile.TemporaryDirectory(prefix="remit-doctor-") as folder, contextlib.ExitStack() as stack:
        place = Path(folder)
        (place / "workspace").mkdir()
        outsiders = stack.enter_context(Outsiders(place))
        scope = place / "scope.yaml"
        scope.write_text(scope_for(outsiders))
        os.environ[VARIABLE] = SECRET.decode()
        stack.callback(os.environ.pop, VARIABLE)
        # It starts wherever anything starts at all, and says what is open.
        session = _PatientSession(
            scope, workspace=place / "workspace", evidence=place / "evidence", accept_gaps=WALL_NAMES
        )
        stack.enter_context(session)
        return _Examination(session, outsiders, place).run(attempts, progress)


def scope_for(outsiders: Outsiders) -> str:
    """The scope of the doctor's session, as text."""
    # Python looks a package up by listing the directory that it lies in.
    read = [
        _PACKAGES,
        str(outsiders.readable_tree),
        *([outsiders.readable_device] if outsiders.readable_device else []),
    ]
    execute = [] if sys.base_prefix in ("/usr", "/usr/local") else [sys.base_prefix]
    return (
        "remit: 1\ntask: doctor\nuse: [base, python]\n"
        f"files:\n  write: [$WORKSPACE, $TMPDIR]\n  read: {json.dumps(read)}\n  execute: {json.dumps(execute)}\n"
        "  secrets: [$WORKSPACE/secrets/deep/key]\n  protect: [$WORKSPACE/settings/deep/hook]\n"
        f"processes: {{at-most: {AT_MOST}}}\n"
    )


def recorded_effects(records: list[dict[str, Any]]) -> list[str]:
    """What the evidence itself says got through."""
    orphan = any(record["kind"] == "fork" and record["via"] == "orphan" for record in records)
    return ["a process was born whose parent nobody has read"] if orphan else []


class _PatientSession(remit.Session):
    """One that starts although a wall did not hold: the doctor is asked which."""

    def __init__(self, scope: Path, **options: Any) -> None:
        super().__init__(scope, **options)
        self._options["despite_open_walls"] = True


class _Examination:
    def __init__(self, session: remit.Session, outsiders: Outsiders, place: Path) -> None:
        self._session = session
        self._outsiders = outsiders
        self._follower = Follower(place / "evidence")
        self.header = self._records_until(lambda record: record["kind"] == "session", "the session's header")[0]
        self._gaps = [gap["name"] for gap in self.header["gaps"]]
        self._place = place

    def run(self, attempts: Sequence[Attempt], progress: Progress) -> tuple[list[Result], dict[str, Any]]:
        with open(f"{self._place}/outside/file", "rb") as handed_over, self._session.step("attempts", tool="doctor"):
            program = self._session.popen(
                PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handed_over, env=ENVIRONMENT, text=True
            )
            self._say(program, outside=self._outside().members())
            results = []
            for attempt in attempts:
                results.append(self._one(program, attempt))
                progress(attempt, results[-1])
            assert program.stdin is not None
            program.stdin.close()
            program.wait(_SECONDS)
        self._follower.close()
        return results, self.header

    def _one(self, program: Any, attempt: Attempt) -> Result:
        self._say(program, attempt=attempt.name)
        line = program.stdout.readline()
        if not line:
            raise RemitError(
                f"the session ended during an attempt: {attempt.name}", hint="this is a fault of remit's own; report it"
            )
        answer = json.loads(line)
        outcome, mark = Outcome(**answer["outcome"]), answer["mark"]
        records = self._records_until(
            lambda record: record["kind"] == "open" and record["asked"] == mark, f"the end of {attempt.name}"
        )
        effects = [*self._outsiders.changes(), *recorded_effects(records)]
        return judge(attempt, outcome, records=records, effects=effects, gaps=self._gaps)

    def _records_until(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> list[dict[str, Any]]:
        """What has been recorded since the last time, up to the record that is wanted and a little beyond."""
        found: list[dict[str, Any]] = []
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            found += [decode_record(line) for line in self._follower.lines()]
            if any(map(wanted, found)):
                return found
            time.sleep(0.001)
        raise RemitError(
            f"not recorded within {_SECONDS:.0f} seconds: {what}", hint="a fault of remit's own; report it"
        )

    def _say(self, program: Any, **members: Any) -> None:
        program.stdin.write(json.dumps(members) + "\n")
        program.stdin.flush()

    def _outside(self) -> Outside:
        launcher = int(self.header["launcher"])
        plans = plans_root(os.environ)
        return self._outsiders.outside.but(
            evidence=str(self._session.evidence),
            plans=plans if os.path.isdir(plans) else "",
            supervisor=int(self.header["supervisor"]),
            zygote=int(self.header["zygote"]),
            deputy=int(self.header["deputy"]),
            launcher=launcher,
            engine=_find_child(launcher, "remit-engine"),
            notary=_find_child(launcher, "remit-notary"),
            at_most=AT_MOST,
        )


def _find_child(launcher: int, name: str) -> int:
    for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text().strip() == name:
            return int(pid)
    return 0
