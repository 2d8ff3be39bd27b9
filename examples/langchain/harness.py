"""A harness outside the boundary: what its tools start runs inside, and is proven to be their step's."""

from __future__ import annotations

from langchain_core.tools import tool

import remit
from remit.adapters.langchain import RemitHandler

with remit.Session("scope.yaml") as session:

    @tool
    def bash(line: str) -> str:
        """Run a line in a shell."""
        return str(session.run(["bash", "-c", line], capture_output=True, text=True).stdout)

    # A model's answer has its tool calls in this form.
    calls = [
        {"name": "bash", "args": {"line": "echo one > one.txt"}, "id": "call_1", "type": "tool_call"},
        {"name": "bash", "args": {"line": "cat one.txt && date > two.txt"}, "id": "call_2", "type": "tool_call"},
    ]
    for call in calls:
        bash.invoke(call, config={"callbacks": [RemitHandler(session)]})
print("Done.")
