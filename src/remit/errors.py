"""Every error that a person sees: one line, lower case, value last, and a hint that can be pasted.

Each class carries the exit status that `remit` ends with, so that the command line has one place to map it.
"""

from __future__ import annotations

EXIT_USAGE = 2  # as argparse and shells have it
# Exit statuses of `remit run` beyond the command's own (126, 127 and 128+n as shells do).
EXIT_BUDGET = 119  # ended by a budget or a full disk
EXIT_VERDICT = 120  # ended by a verdict, or findings at or above --fail-on
EXIT_SCOPE = 121  # the scope file is wrong
EXIT_WALL_GAP = 122  # something the scope asks cannot be enforced here
EXIT_BOUNDARY = 123  # the boundary could not be set up; the agent was not started
EXIT_EVIDENCE = 124  # evidence is broken
EXIT_INTERNAL = 125  # our bug


def one_line(value: object, limit: int = 80) -> str:
    """Text for an error message: printable, on one line, not longer than a person reads."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


class RemitError(Exception):
    """Something that stops remit, said in one line: the operation, the object, the errno, and who must act."""

    exit_status = EXIT_INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RemitError):
    """The command line asks for something that is not there or makes no sense; whoever typed it must act."""

    exit_status = EXIT_USAGE


class StepError(UsageError):
    """A step's id is empty, too long or used before, or names no step that is open; whoever marks steps must act."""


class FrozenError(UsageError):
    """The session is frozen, so nothing can be started in it until it is resumed."""


class ScopeError(RemitError):
    """The scope file is wrong; its author must act."""

    exit_status = EXIT_SCOPE

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path, self.line, self.column = path, line, column


class WallGapError(RemitError):
    """The scope asks for a wall that this host cannot build; the operator accepts the gap by name or changes host."""

    exit_status = EXIT_WALL_GAP


class BoundaryError(RemitError):
    """A wall could not be put up, so the agent was not started; the operator must act."""

    exit_status = EXIT_BOUNDARY


class EvidenceError(RemitError):
    """Evidence could not be written, read or verified."""

    exit_status = EXIT_EVIDENCE
