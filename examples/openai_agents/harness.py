"""A harness outside the boundary: what its tools start runs inside, and is proven to be their step's."""

from __future__ import annotations

import asyncio

from agents import Agent, Runner, function_tool, set_trace_processors
from scripted import Scripted

import remit
from remit.adapters.openai_agents import RemitProcessor


async def main() -> None:
    async with remit.AsyncSession("scope.yaml") as session:
        set_trace_processors([RemitProcessor(session)])

        @function_tool
        async def bash(line: str) -> str:
            done = await session.run(["bash", "-c", line], capture_output=True, text=True)
            return str(done.stdout)

        model = Scripted("echo one > one.txt", "cat one.txt && date > two.txt")
        agent = Agent(name="example", model=model, tools=[bash])
        print((await Runner.run(agent, "Write two files.")).final_output)


asyncio.run(main())
