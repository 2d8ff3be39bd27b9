"""A tool call opens one step for who got it, and only its result, sent by the same, closes it."""

from __future__ import annotations

from remit.clock.model_api import ToolCall
from remit.clock.turns import Turns

CALL = ToolCall("call_1", "bash", {"command": "ls"})


def steps(marks: list[dict[str, object]]) -> list[object]:
    return [mark["step"] for mark in marks]


def test_a_call_begins_a_step_and_its_result_ends_it() -> None:
    turns = Turns()
    (begin,) = turns.delivered("1:1", [CALL], [{"programs": [["ls"]]}])
    mark = {"do": "step", "mark": "begin", "step": "call_1", "tool": "bash", "arguments": {"command": "ls"}}
    assert begin == {**mark, "caller": "1:1", "declared": {"programs": [["ls"]]}}
    assert turns.brought("1:1", {"other"}) == []
    assert turns.brought("1:1", {"call_1", "other"}) == [{"do": "step", "mark": "end", "step": "call_1"}]
    assert turns.brought("1:1", {"call_1"}) == []


def test_another_process_cannot_end_it() -> None:
    turns = Turns()
    turns.delivered("1:1", [CALL])
    assert turns.brought("2:2", {"call_1"}) == []


def test_an_id_that_comes_again_is_another_step() -> None:
    turns = Turns()
    turns.delivered("1:1", [CALL])
    again = turns.delivered("1:1", [CALL])
    assert [(mark["mark"], mark["step"]) for mark in again] == [("end", "call_1"), ("begin", "call_1#2")]
    assert steps(turns.delivered("2:2", [CALL])) == ["call_1#3"]


def test_arguments_that_evidence_cannot_hold_are_cut() -> None:
    deep: object = 1
    for _ in range(900):
        deep = [deep]
    (mark,) = Turns().delivered("1:1", [ToolCall("call_1", "t", {"x": deep})])
    assert "(deeper)" in str(mark["arguments"])


def test_a_long_id_is_cut_and_stays_its_own() -> None:
    turns = Turns()
    one, two = (turns.delivered("1:1", [ToolCall("x" * 300 + end, "t", None)])[0]["step"] for end in "ab")
    assert one != two
    assert len(one) < 256 > len(two)


def test_huge_arguments_are_cut() -> None:
    (mark,) = Turns().delivered("1:1", [ToolCall("call_1", "write", {"content": "x" * 1_000_000})])
    assert len(mark["arguments"]["cut"]) == 256 << 10
    assert len(mark["arguments"]["sha256"]) == 64


def test_what_never_arrived_is_closed() -> None:
    turns = Turns()
    turns.delivered("1:1", [CALL])
    assert steps(turns.undelivered("1:1", [CALL])) == ["call_1"]
