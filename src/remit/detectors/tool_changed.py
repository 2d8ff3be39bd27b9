"""tool-changed: an MCP server describes a tool otherwise than it did when the tool was first seen, or a moment ago.

What it recognises
    A tool whose title, description, schemas, annotations or other words are not those that were remembered from an
    earlier session of the same server under the same scope, or that change within the session. A tool that a known
    server did not have before is low, a change medium.

Why it matters
    A person or a client approves a tool by what it says of itself. A server that is approved as harmless and then
    speaks otherwise (a "rug pull") reaches the model with words that nobody has approved.

How it tells the benign twin apart
    The order of members and of tools, `_meta` and icons make no difference. An upgrade is a change: `remit mcp
    --accept-tools` says once that it is accepted.

Blind spots
    The first time everything is trusted. What a server says in results, prompts and resources. A description that
    never changes and lies. Two servers that are started by the same words are one.

References
    ATT&CK T1195 Supply Chain Compromise; ATLAS AML.T0010 AI Supply Chain Compromise; OWASP Agentic ASI04 Agentic
    Supply Chain Vulnerabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

from remit.detectors.context import Context
from remit.events import Event, Session, Tool
from remit.findings import Sighting, printable

TECHNIQUES = ("T1195", "AML.T0010", "ASI04")


class ToolChanged:
    behaviour = "tool-changed"
    wants: frozenset[type] = frozenset({Tool})

    def __init__(self, session: Session) -> None:
        self._tools: dict[str, Tool] = {}
        self._known = False  # something was remembered of this server

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        if not isinstance(event, Tool):
            return
        before = self._tools.get(event.tool)
        self._tools[event.tool] = event
        if event.mark == "remembered":
            self._known = True
        elif before is not None and before.digests != event.digests:
            parts = [part for part in sorted({*before.digests, *event.digests}) if _differs(part, before, event)]
            since = "since an earlier session" if before.mark == "remembered" else "within the session"
            text = f"tool {event.tool} has changed {since}: {', '.join(parts)}"
            yield _sighting(event, "medium", text, (before.n, event.n))
        elif before is None and self._known:
            text = f"tool {event.tool} is new: the server did not have it before"
            yield _sighting(event, "low", text, (event.n,))


def _differs(part: str, before: Tool, now: Tool) -> bool:
    return before.digests.get(part) != now.digests.get(part)


def _sighting(event: Tool, severity: str, text: str, events: tuple[int, ...]) -> Sighting:
    shown, process = printable(text, 400), event.process or ""
    return Sighting(event.tool, process, "succeeded", severity, TECHNIQUES, shown, None, events)
