"""Inspect AI: hooks that tell of each tool call once it is over.

    import remit.adapters.inspect_ai    # in a module that Inspect loads, such as the task's own; registers the hooks

Inspect tells its hooks of a tool call when it has ended. So these are claims of what is past, with Inspect's own
times: they stand in the report beside what the kernel saw, and nothing is charged to them.
"""

from __future__ import annotations

from datetime import datetime

from inspect_ai.event import ToolEvent
from inspect_ai.hooks import Hooks, SampleEvent, hooks

from remit.clock.claimant import is_inside, send_claims


@hooks(name="remit", description="Tells the remit session around this process of each tool call")
class RemitHooks(Hooks):
    """Claims, where there is a session that takes them."""

    def enabled(self) -> bool:
        return is_inside()

    async def on_sample_event(self, data: SampleEvent) -> None:
        if isinstance(event := data.event, ToolEvent):
            claim = {"mark": "past", "step": event.id, "tool": event.function, "source": "inspect-ai"}
            times = {"began": _nanoseconds(event.timestamp), "ended": _nanoseconds(event.completed)}
            told = {name: value for name, value in times.items() if value is not None}
            send_claims([claim | told | {"arguments": event.arguments, "group": data.sample_id}])


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1e9)
