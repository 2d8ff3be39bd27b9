"""Reaps the supervisor's children: tracees at their stops, orphans at their end, the zygote, which may not stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from remit.kernel import pidfd, process, ptrace
from remit.supervisor.images import ExecStops


class Children:
    """`descriptor` becomes readable when there is something to reap; `zygote` is its pidfd."""

    def __init__(self, stops: ExecStops, zygote: int, zygote_pid: int, record: Callable[..., Any]) -> None:
        self.descriptor = process.wake_on_child_signal()
        self._stops = stops
        self._zygote = zygote
        self._zygote_pid = zygote_pid
        self._record = record

    def reap(self) -> None:
        """Take every wait status that is there."""
        try:
            os.read(self.descriptor, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.wait4(-1, os.WNOHANG | os.WUNTRACED | ptrace.WALL)[:2]
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status) and pid == self._zygote_pid:
                self._zygote_stopped(os.WSTOPSIG(status))
            elif os.WIFSTOPPED(status):
                self._stops.stopped(pid, status)
            else:
                self._stops.ended(pid)

    def _zygote_stopped(self, number: int) -> None:
        """It is in the agent's Landlock domain, so the agent can stop it; stopped, it tells of no program's end."""
        pidfd.send_signal(self._zygote, signal.SIGCONT)
        self._record(
            "signal",
            process=None,
            operation="stop",
            target=self._zygote_pid,
            arguments=[number],
            errno=0,
            refused=True,
            wall="supervisor",
            clause="the zygote is not to be stopped; it was continued at once",
        )
