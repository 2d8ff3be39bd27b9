"""The demo runs on this machine only: every address it uses is 127.0.0.1, and every program it runs is real."""

from __future__ import annotations

from remit.errors import RemitError


class DemoError(RemitError):
    """The demo could not begin; whoever called it must act. Neither a success (0) nor a failed check (1)."""

    exit_status = 2
