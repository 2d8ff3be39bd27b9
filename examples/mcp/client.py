"""A small MCP client: `python3 client.py COMMAND...` starts the server, lists its tools, and uses each of them."""

from __future__ import annotations

import asyncio
import sys

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client


async def main(command: list[str]) -> None:
    async def progress(done: float, total: float | None, message: str | None) -> None:
        print(f"  {message}: {done:g} of {total:g}" if total else f"  {message}")

    async with Client(stdio_client(StdioServerParameters(command=command[0], args=command[1:]))) as client:
        for tool in (await client.list_tools()).tools:
            hints = tool.annotations
            print(f"{tool.name}: {tool.description}{' (only reads)' if hints and hints.read_only_hint else ''}")
        for name, arguments in (("note", {"text": "buy milk"}), ("lookup", {"word": "milk"}), ("tally", {})):
            answer = await client.call_tool(name, arguments, progress_callback=progress)
            print(f"{name}: {answer.content[0].text if answer.content else ''}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
