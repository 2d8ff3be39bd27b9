"""The same tools inside the boundary: what they say of their steps are claims."""

from __future__ import annotations

import asyncio
import subprocess

from langchain_core.tools import tool

from remit.adapters.langchain import RemitHandler


@tool
def bash(line: str) -> str:
    """Run a line in a shell."""
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False).stdout


async def main() -> None:
    # A model's answer has its tool calls in this form.
    calls = [
        {"name": "bash", "args": {"line": "echo one > one.txt"}, "id": "call_1", "type": "tool_call"},
        {"name": "bash", "args": {"line": "cat one.txt && date > two.txt"}, "id": "call_2", "type": "tool_call"},
    ]
    for call in calls:
        await bash.ainvoke(call, config={"callbacks": [RemitHandler()]})
    print("Done.")


asyncio.run(main())
