"""An Inspect AI task that runs a tool without a model. Inspect tells of it when it is over: the claim is late."""

from __future__ import annotations

import subprocess

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, execute_tools
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolCall, tool

import remit.adapters.inspect_ai  # noqa: F401


@tool
def bash() -> Tool:
    async def execute(line: str) -> str:
        """Run a line in a shell.

        Args:
            line: The line.
        """
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False).stdout

    return execute


@solver
def scripted() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        call = ToolCall(id="call_1", function="bash", arguments={"line": "echo one > one.txt"})
        await execute_tools([ChatMessageAssistant(content="", tool_calls=[call])], [bash()])
        return state

    return solve


task = Task(dataset=[Sample(input="Write a file.")], solver=scripted())
(log,) = eval(task, model="mockllm/model", display="none", log_dir="logs")
print("Done." if log.status == "success" else log.error)
