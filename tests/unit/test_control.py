"""Who may steer a session is told by who connects, not by what is known of its processes."""

from __future__ import annotations

import selectors
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.supervisor.connections import Connection
from remit.supervisor.control import ControlSocket
from remit.supervisor.processes import ProcessTable

# Connects and says whether it was answered. With `leave`, its parent is gone by then, and it is nobody's child here.
CALLER = """\
import os, socket, sys
from remit.protocol import Receiver, send
parent = os.getpid()
if sys.argv[2] == "leave":
    if os.fork():
        os._exit(0)
    while os.getppid() == parent:
        pass
caller = socket.socket(socket.AF_UNIX)
caller.connect(sys.argv[1])
try:
    send(caller, {"do": "freeze"})
    answer = Receiver(caller).wait()
except OSError:
    answer = None
with open(sys.argv[3], "w") as file:
    print("answered" if answer else "refused", file=file)
"""


@pytest.mark.parametrize(("how", "expected"), [("stay", "refused"), ("leave", "answered")])
def test_only_a_caller_from_outside_is_answered(how: str, expected: str, tmp_path: Path) -> None:
    """This process is the supervisor; it has met no process at all, as with the deputy and what was just forked."""
    recorded: list[dict[str, Any]] = []
    received: list[Any] = []

    def answer(connection: Connection, message: Any) -> None:
        received.append(message)
        connection.send({"ok": 1})

    with selectors.DefaultSelector() as selector:
        table = ProcessTable(
            record=lambda kind, **members: None,
            watch=lambda process: None,
            unwatch=lambda process: None,
            spawned=lambda pid: None,
        )
        control = ControlSocket(
            selector,
            tmp_path,
            table,
            record=lambda kind, **members: recorded.append(members),
            received=answer,
            lost=lambda connection: None,
        )
        said = tmp_path / "said"
        words = [str(tmp_path / "control.sock"), how]
        with subprocess.Popen([sys.executable, "-c", CALLER, *words, str(said)]) as caller:
            while caller.poll() is None or not said.exists() or not said.read_text():
                for key, events in selector.select(0.05):
                    key.data.ready(events)
        control.close()
    assert said.read_text().strip() == expected
    assert bool(received) == (expected == "answered")
    assert [members["operation"] for members in recorded] == ([] if received else ["control"])
