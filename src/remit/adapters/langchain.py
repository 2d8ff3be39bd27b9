"""LangChain, and LangGraph on top of it: a callback handler that says when each tool begins and ends.

    from remit.adapters.langchain import RemitHandler

    agent.invoke(..., config={"callbacks": [RemitHandler()]})           # inside a session: claims
    agent.invoke(..., config={"callbacks": [RemitHandler(session)]})    # in a harness that drives `session`: steps

A step has the tool call's id, or where there is none, the run's.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from remit.adapters.telling import AnySession, teller


class RemitHandler(BaseCallbackHandler):
    """Tells `session`, or without one whoever takes claims, of each tool."""

    run_inline = True  # in the context of the call, and not in a thread beside it
    raise_error = True  # a tool does not run when its step could not begin

    def __init__(self, session: AnySession | None = None) -> None:
        self._teller = teller(session, "langchain")
        self._ids: dict[UUID, str] = {}

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._ids[run_id] = str(more.get("tool_call_id") or run_id)
        name = str(more.get("name") or (serialized or {}).get("name") or "tool")
        self._teller.begin(self._ids[run_id], name, input_str if inputs is None else inputs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **more: Any) -> None:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._end(run_id)

    def _end(self, run_id: UUID) -> None:
        if (id := self._ids.pop(run_id, None)) is not None:
            self._teller.end(id)
