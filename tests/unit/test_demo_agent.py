"""The agent loop and the model endpoint: a real HTTP conversation that replays the script, one call for each turn."""

from __future__ import annotations

from remit.demo.agent import ToolCall, ToolResult, work
from remit.demo.model import completion, model_endpoint

CALLS = [ToolCall(f"call_{n:02d}", "bash", {"command": f"echo {n}"}) for n in (1, 2, 3)]


def test_the_loop_runs_every_call_in_order_and_stops() -> None:
    ran: list[ToolCall] = []

    def execute(call: ToolCall) -> ToolResult:
        ran.append(call)
        return ToolResult(0, "done")

    with model_endpoint(CALLS) as port:
        turns = work(port, "do it", execute)
    assert ran == CALLS
    assert [turn.call for turn in turns] == CALLS


def test_an_executor_that_returns_none_stops_the_agent() -> None:
    with model_endpoint(CALLS) as port:
        turns = work(port, "do it", lambda call: None if call.id == "call_02" else ToolResult(0, ""))
    assert [turn.call.id for turn in turns] == ["call_01"]


def test_the_answer_follows_from_the_conversation_alone() -> None:
    tool = {"role": "tool", "tool_call_id": "call_01", "content": ""}
    choice = completion({"messages": [{"role": "user", "content": ""}, tool]}, CALLS)["choices"][0]
    assert choice["message"]["tool_calls"][0]["id"] == "call_02"
    assert choice["finish_reason"] == "tool_calls"
    end = completion({"messages": [tool, tool, tool]}, CALLS)["choices"][0]
    assert (end["finish_reason"], "tool_calls" in end["message"]) == ("stop", False)
