"""The OpenAI Agents SDK: a trace processor that says when each function tool begins and ends.

    from agents import add_trace_processor
    from remit.adapters.openai_agents import RemitProcessor

    add_trace_processor(RemitProcessor())           # inside a session: claims
    add_trace_processor(RemitProcessor(session))    # in a harness that drives `session`: steps

A step has the id of its span, for a processor is not told the tool call's. Its arguments are known only when it ends,
and not at all with `trace_include_sensitive_data=False`.
"""

from __future__ import annotations

import json
from typing import Any

from agents import FunctionSpanData, Span, Trace
from agents.tracing import TracingProcessor

from remit.adapters.telling import AnySession, teller


class RemitProcessor(TracingProcessor):
    """Tells `session`, or without one whoever takes claims, of each function span."""

    def __init__(self, session: AnySession | None = None) -> None:
        self._teller = teller(session, "openai-agents")

    def on_span_start(self, span: Span[Any]) -> None:
        if isinstance(span.span_data, FunctionSpanData):
            self._teller.begin(span.span_id, span.span_data.name, group=span.trace_id)

    def on_span_end(self, span: Span[Any]) -> None:
        if isinstance(span.span_data, FunctionSpanData):
            self._teller.end(span.span_id, _arguments(span.span_data.input))

    def on_trace_start(self, trace: Trace) -> None:
        """Nothing to say of a whole run."""

    def on_trace_end(self, trace: Trace) -> None:
        """Nothing to say of a whole run."""

    def shutdown(self) -> None:
        """Nothing is kept."""

    def force_flush(self) -> None:
        """Nothing is kept."""


def _arguments(said: str | None) -> Any:
    try:
        return None if said is None else json.loads(said)
    except ValueError:
        return said
