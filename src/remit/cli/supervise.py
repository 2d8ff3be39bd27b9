"""The supervisor process from fork to exit: the walls begun, the session run, one last word to the launcher."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from remit.boundary.launch import begin_boundary
from remit.boundary.mask_mounts import lay_out, remove_placeholders
from remit.errors import RemitError
from remit.kernel import process
from remit.protocol import send

if TYPE_CHECKING:
    from remit.boundary.cgroups import SessionCgroups
    from remit.cli.begin import Begun
    from remit.cli.launcher import Request

_IGNORED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGHUP,
    signal.SIGPIPE,
)


def main(
    *,
    request: Request,
    begun: Begun,
    temporary_directory: str,
    dispositions: Mapping[int, Any],
    channel: socket.socket,
    placeholders: list[str],
    cgroups: SessionCgroups | None,
) -> None:
    """Run one session and exit. Never returns. `placeholders` and `cgroups` are taken back at its end."""
    try:
        message = _supervise(request, begun, temporary_directory, dispositions, channel, cgroups)
    except RemitError as problem:
        message = {"failed": problem.message, "hint": problem.hint, "exit_status": problem.exit_status}
    except Exception as problem:
        message = {"failed": f"the supervisor failed: {problem!r}", "hint": None, "exit_status": 125}
    remove_placeholders(placeholders)
    if cgroups is not None:
        cgroups.remove()
    try:
        channel.setblocking(True)
        send(channel, message)
    finally:
        os._exit(0)


def _supervise(
    request: Request,
    begun: Begun,
    temporary_directory: str,
    dispositions: Mapping[int, Any],
    channel: socket.socket,
    cgroups: SessionCgroups | None,
) -> dict[str, Any]:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process.set_child_subreaper()
    process.set_name("remit-supervisor")
    covers = lay_out(request.plan.masks, temporary_directory)
    rising = begin_boundary(request.plan, temporary_directory, dispositions, covers, cgroups)
    from remit.cli.oversee import oversee  # loaded while the zygote puts up the walls

    return oversee(request, begun, rising, temporary_directory, channel)
