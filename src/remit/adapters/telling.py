"""Where an adapter says that a tool call begins and ends: to the session that its harness drives, or as claims.

A harness outside the boundary has a `remit.Session`: its marks are steps, and what it starts inside them is proven.
Inside a session the same words are claims. Elsewhere nobody listens, and nothing is said.
"""

from __future__ import annotations

import contextvars
from typing import Any, Protocol

from remit.clock.asynchronous import AsyncSession, beneath
from remit.clock.claimant import send_claims
from remit.clock.sdk import Session

AnySession = Session | AsyncSession

_around: contextvars.ContextVar[str | None] = contextvars.ContextVar("remit_tool_call", default=None)


class Teller(Protocol):
    """Ids are the tool calls' own."""

    def begin(self, id: str, tool: str, arguments: Any = None, group: str | None = None) -> None: ...
    def end(self, id: str, arguments: Any = None) -> None: ...


def teller(session: AnySession | None, source: str) -> Teller:
    """Who listens to this process: the session, or whoever takes claims."""
    return _Claims(source) if session is None else _Steps(beneath(session))


class _Steps:
    """Begins and ends steps of a session, in the context of the call, so that `session.run` finds its step."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: dict[str, Any] = {}
        self._times: dict[str, int] = {}

    def begin(self, id: str, tool: str, arguments: Any = None, group: str | None = None) -> None:
        # A framework may run a call again under its id, and each step has an id of its own.
        self._times[id] = self._times.get(id, 0) + 1
        name = id if self._times[id] == 1 else f"{id}#{self._times[id]}"
        step = self._session.step(name, tool=tool, arguments=arguments)
        step.__enter__()
        self._open[id] = step

    def end(self, id: str, arguments: Any = None) -> None:
        step = self._open.pop(id, None)
        if step is not None:
            step.__exit__(None, None, None)


class _Claims:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tools: dict[str, str] = {}
        self._before: dict[str, str | None] = {}

    def begin(self, id: str, tool: str, arguments: Any = None, group: str | None = None) -> None:
        self._tools[id], self._before[id] = tool, _around.get()
        claim = {"mark": "begin", "step": id, "tool": tool, "source": self._source, "arguments": arguments}
        optional = {"group": group, "within": _around.get()}
        send_claims([claim | {name: value for name, value in optional.items() if value}])
        _around.set(id)

    def end(self, id: str, arguments: Any = None) -> None:
        tool = self._tools.pop(id, None)
        if tool is None:
            return
        send_claims([{"mark": "end", "step": id, "tool": tool, "source": self._source, "arguments": arguments}])
        _around.set(self._before.pop(id))
