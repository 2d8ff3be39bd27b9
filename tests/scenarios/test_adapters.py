"""Adapters with the real frameworks: parallel, failing, nested and repeated tool calls each get the right step."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stage import Stage, charged, is_sound

import remit
from remit.report.summary import build_report


def writes(evidence: Path) -> dict[str, tuple[str | None, str]]:
    return {
        Path(record["path"]).name: (attribution.step, attribution.attribution)
        for record, attribution in charged(evidence)
        if record["kind"] == "open" and record["path"].endswith(".txt")
    }


def call(id: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": tool, "args": arguments, "id": id, "type": "tool_call"}


def test_langchain_in_threads_failing_nested_and_again(stage: Stage) -> None:
    tools = pytest.importorskip("langchain_core.tools")
    from remit.adapters.langchain import RemitHandler

    with remit.Session(workspace=stage.workspace) as session:
        callbacks = {"callbacks": [RemitHandler(session)]}

        @tools.tool
        def write(name: str) -> str:
            """Write a file."""
            session.run(["bash", "-c", f"echo > {name}.txt"], check=True)
            return name

        @tools.tool
        def fail() -> str:
            """Fail."""
            raise ValueError("as it should")

        @tools.tool
        def outer() -> str:
            """Call another tool, and write."""
            write.invoke(call("inner", "write", name="inner"), config=callbacks)
            session.run(["bash", "-c", "echo > outer.txt"], check=True)
            return "outer"

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(
                lambda n: write.invoke(call(f"c{n}", "write", name=f"c{n}"), config=callbacks), range(4)
            ))  # fmt: skip
        with pytest.raises(ValueError, match="as it should"):
            fail.invoke(call("bad", "fail"), config=callbacks)
        outer.invoke(call("out", "outer"), config=callbacks)
        write.invoke(call("c0", "write", name="again"), config=callbacks)
        session.run(["bash", "-c", "echo > none.txt"], check=True)
    assert writes(session.evidence) == {
        **{f"c{n}.txt": (f"c{n}", "proven") for n in range(4)},
        "inner.txt": ("inner", "proven"), "outer.txt": ("out", "proven"), "again.txt": ("c0#2", "proven"),
        "none.txt": (None, "unknown"),
    }  # fmt: skip
    report = build_report(session.evidence)
    assert all(step["ended"] for step in report["steps"])
    assert {step["id"]: step["arguments"] for step in report["steps"]}["c3"] == {"name": "c3"}
    is_sound(session.evidence)


def test_langchain_awaited_side_by_side(stage: Stage) -> None:
    tools = pytest.importorskip("langchain_core.tools")
    from remit.adapters.langchain import RemitHandler

    async def main() -> Path:
        async with remit.AsyncSession(workspace=stage.workspace) as session:

            @tools.tool
            async def write(name: str) -> str:
                """Write a file."""
                await session.run(["bash", "-c", f"echo > {name}.txt"], check=True)
                return name

            callbacks = {"callbacks": [RemitHandler(session)]}
            await asyncio.gather(
                *(write.ainvoke(call(f"c{n}", "write", name=f"c{n}"), config=callbacks) for n in range(4))
            )
            return session.evidence

    evidence = asyncio.run(main())
    assert writes(evidence) == {f"c{n}.txt": (f"c{n}", "proven") for n in range(4)}


def test_openai_agents_parallel_calls_of_one_answer(stage: Stage) -> None:
    agents = pytest.importorskip("agents")
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from remit.adapters.openai_agents import RemitProcessor

    class Parallel(agents.Model):  # type: ignore[misc]
        turns = 0

        async def get_response(self, *asked: Any, **more: Any) -> Any:
            self.turns += 1
            text = ResponseOutputText(text="Done.", type="output_text", annotations=[])
            said: list[Any] = [
                ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
            ]
            if self.turns == 1:
                said = [
                    ResponseFunctionToolCall(
                        name="write", call_id=f"c{n}", arguments=json.dumps({"name": f"c{n}"}), type="function_call"
                    )
                    for n in range(3)
                ]
            return agents.ModelResponse(output=said, usage=agents.Usage(), response_id=None)

        def stream_response(self, *asked: Any, **more: Any) -> Any:
            raise NotImplementedError

    async def main() -> Path:
        async with remit.AsyncSession(workspace=stage.workspace) as session:
            agents.set_trace_processors([RemitProcessor(session)])

            async def write(name: str) -> str:
                """Write a file."""
                await session.run(["bash", "-c", f"echo > {name}.txt"], check=True)
                return name

            agent = agents.Agent(name="a", model=Parallel(), tools=[agents.function_tool(write)])
            await agents.Runner.run(agent, "write")
            return session.evidence

    evidence = asyncio.run(main())
    found = writes(evidence)
    assert {attribution for _, attribution in found.values()} == {"proven"}
    assert len({step for step, _ in found.values()}) == len(found) == 3
    assert len(build_report(evidence)["steps"]) == 3
