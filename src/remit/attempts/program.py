"""The program that makes attempts inside a session: a request a line on standard input, an outcome a line back.

Each attempt is made in a child of its own, because some of them end the process that makes them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys

from remit.attempts.attempt import Attempt, Outcome, Outside, perform
from remit.attempts.catalogue import BY_NAME

_SECONDS = 20.0  # every act is over in milliseconds, or hangs


def main() -> None:
    outside = Outside()
    for line in sys.stdin:
        request = json.loads(line)
        if "outside" in request:
            outside = Outside(**request["outside"])
            continue
        outcome = in_a_child(BY_NAME[request["attempt"]], outside)
        # Recorded, and after everything that the attempt did.
        mark = f"end-of-{request['attempt']}"
        with open(mark, "w", encoding="utf-8"):
            print(json.dumps({"mark": mark, "outcome": outcome._asdict()}), flush=True)


def in_a_child(attempt: Attempt, outside: Outside) -> Outcome:
    """Make an attempt in a child of this process."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            outcome = perform(attempt, outside)
        except Exception as problem:
            outcome = Outcome(detail=f"the attempt itself failed: {problem!r}")
        os.write(writer, json.dumps(outcome._asdict()).encode())
        os._exit(0)
    os.close(writer)
    said = _read_all(reader, pid)
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if said:
        return Outcome(**json.loads(said))
    if status < 0:
        return Outcome(signal=-status)
    return Outcome(detail=f"it became another program, which ended with status {status}")


def _read_all(reader: int, pid: int) -> bytes:
    said = b""
    while select.select([reader], [], [], _SECONDS)[0]:
        piece = os.read(reader, 65536)
        if not piece:
            return said
        said += piece
    os.kill(pid, signal.SIGKILL)
    return json.dumps(Outcome(detail=f"no answer within {_SECONDS:.0f} seconds")._asdict()).encode()


if __name__ == "__main__":
    main()
