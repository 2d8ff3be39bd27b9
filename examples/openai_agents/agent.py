"""The same agent inside the boundary: what it says of its steps are claims."""

from __future__ import annotations

import asyncio
import subprocess

from agents import Agent, Runner, function_tool, set_trace_processors
from scripted import Scripted

from remit.adapters.openai_agents import RemitProcessor


@function_tool
def bash(line: str) -> str:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False).stdout


async def main() -> None:
    set_trace_processors([RemitProcessor()])
    model = Scripted("echo one > one.txt", "cat one.txt && date > two.txt")
    agent = Agent(name="example", model=model, tools=[bash])
    print((await Runner.run(agent, "Write two files.")).final_output)


asyncio.run(main())
