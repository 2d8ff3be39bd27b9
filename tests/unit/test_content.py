"""A program is proven to be a tool call's only when the call's arguments ask for it and for no other."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.attribution.content import CARRIED, EXACT, NONE, asks_for
from remit.testing import Playbook

LINE = "make test && echo 'it''s done' | tail -1"


SH, BASH = "/usr/bin/dash", "/usr/bin/bash"


@pytest.mark.parametrize(
    ("arguments", "image", "program", "fit"),
    [
        ({"command": LINE}, SH, ("/bin/sh", "-c", LINE), EXACT),
        ({"command": LINE}, BASH, ("bash", "-lc", LINE), EXACT),
        ({"command": f" {LINE}\n"}, BASH, ("bash", "-c", "-l", LINE), EXACT),
        ({"command": ["bash", "-lc", LINE]}, BASH, ("bash", "-lc", LINE), EXACT),
        ({"action": {"command": ["ls", "-l"]}}, "/usr/bin/ls", ("ls", "-l"), EXACT),
        ({"command": "pytest -q"}, "/venv/bin/pytest", ("pytest", "-q"), EXACT),
        ({"command": "python3 -V"}, "/usr/bin/python3.11", ("python3", "-V"), EXACT),
        ({"command": LINE}, BASH, ("bash", "-c", f"source x && eval {shlex.quote(LINE)} < /dev/null && pwd"), CARRIED),
        ({"command": LINE}, "/usr/bin/timeout", ("timeout", "60", "bash", "-c", LINE), CARRIED),
        ({"command": "ls"}, BASH, ("bash", "-c", "source x.sh && eval ls"), CARRIED),
        ({"command": "ls"}, BASH, ("bash", "-c", "ls -la"), NONE),
        ({"command": "ls"}, BASH, ("bash", "-c", "echo lsof"), NONE),
        ({"command": "ls"}, "/usr/bin/grep", ("grep", "ls"), NONE),
        ({"command": LINE}, BASH, ("bash",), NONE),
        ({"command": LINE}, BASH, ("bash", "script.sh", "-c"), NONE),
        ({"command": LINE}, BASH, ("bash", "-c", "eval 'unbalanced"), NONE),
        ({"command": ""}, BASH, ("bash", "-c", ""), NONE),
        # What only speaks of a command is not the command.
        ({"command": LINE}, "/usr/bin/git", ("git", "commit", "-m", LINE), NONE),
        ({"command": LINE}, "/usr/bin/logger", ("logger", "-s", LINE), NONE),
        ({"command": LINE}, BASH, ("bash", "-c", f"printf {shlex.quote(LINE)} > banner"), NONE),
        ({"file_path": "a", "content": "git status"}, "/usr/bin/git", ("git", "status"), NONE),
        ({"command": "sleep 0", "description": "git log -1"}, "/usr/bin/git", ("git", "log", "-1"), NONE),
        # An argument vector may say anything.
        ({"command": LINE}, "/usr/bin/touch", ("sh", "-c", LINE), NONE),
        ({"command": "cat x"}, "/work/catastrophe", ("cat", "x"), NONE),
        ({"command": "sh build.sh"}, "/work/bash", ("sh", "build.sh"), NONE),
        ({"command": LINE}, "/work/bash", ("bash", "-c", LINE), NONE),
        ({"path": "a"}, BASH, (), NONE),
        (None, "/usr/bin/ls", ("ls",), NONE),
        ({"deep": [[[[[[[[{"command": "ls"}]]]]]]]]}, "/usr/bin/ls", ("ls",), NONE),
    ],
)
def test_what_a_call_asks_for(arguments: Any, image: str, program: tuple[str, ...], fit: int) -> None:
    assert asks_for(arguments, image, program) == fit


@given(st.text(min_size=1, max_size=80).filter(lambda text: text.strip() and text[0] not in "-+" and "\0" not in text))
def test_any_command_is_found_in_the_wrapper_that_carries_it(command: str) -> None:
    assert asks_for({"command": command}, BASH, ("bash", "-c", command)) == EXACT
    wrapper = f"shopt -u extglob && eval {shlex.quote(command)} < /dev/null"
    assert asks_for({"command": command}, BASH, ("bash", "-c", wrapper)) == CARRIED


def agent() -> Playbook:
    """The agent's own process, started by `remit run`."""
    return Playbook().spawn("/usr/bin/node", "agent.js", name="agent", source="run")


def asked(book: Playbook, step: str, command: str, caller: str = "agent") -> Playbook:
    """The gateway sees a tool call being given to a process."""
    arguments = {"command": command}
    common = {"mark": "begin", "step": step, "tool": "bash", "arguments": arguments, "phase": None}
    return book.add("step", **common, source="gateway", caller=book.id(caller))


def runs(book: Playbook, line: str, name: str = "", of: str = "agent") -> Playbook:
    return book.fork(name, of=of).exec("/usr/bin/bash", "-c", line)


def test_one_call_in_force_and_its_program_is_proven() -> None:
    book = runs(asked(agent(), "call_1", "make"), "make").fork().exec("/usr/bin/make")
    assert (book.attribution().step, book.attribution().attribution) == ("call_1", "proven")


def test_what_the_harness_runs_for_itself_meanwhile_is_not() -> None:
    book = runs(asked(agent(), "call_1", "make"), "git status")
    assert (book.attribution().attribution, book.attribution().candidates) == ("likely", ("call_1",))
    assert book.fork().exec("/usr/bin/git", "status").attribution().attribution == "likely"


def test_what_does_not_match_first_proves_nothing_later() -> None:
    both = asked(asked(agent(), "call_1", "git status"), "call_2", "git status && git diff")
    book = runs(both, "cd . && git status && git diff").fork().exec("/usr/bin/git", "status")
    assert (book.attribution().attribution, set(book.attribution().candidates)) == ("likely", {"call_1", "call_2"})


def test_a_program_that_was_born_in_the_step_before_may_be_that_ones() -> None:
    book = asked(agent(), "call_1", "make").fork("late", of="agent").end_step("call_1")
    asked(book, "call_2", "make").act_as("late").exec("/usr/bin/bash", "-c", "make")
    assert book.attribution().attribution == "likely"
    again = asked(agent(), "call_1", "make").end_step("call_1")
    runs(asked(again, "call_2", "make"), "make")  # within the time that a birth can be told to
    assert (again.attribution().attribution, set(again.attribution().candidates)) == ("likely", {"call_1", "call_2"})


def test_a_call_whose_program_was_found_asks_for_no_other() -> None:
    book = runs(asked(agent(), "call_1", "make"), "make").exit().end_step("call_1")
    runs(asked(book, "call_2", "make"), "make")  # within the time that a birth can be told to
    assert (book.attribution().step, book.attribution().attribution) == ("call_2", "proven")


def test_one_call_proves_one_program() -> None:
    book = runs(runs(asked(agent(), "call_1", "make"), "make"), "make")
    assert book.attribution().attribution == "likely"


def test_an_mcp_server_may_still_be_at_an_earlier_call_whose_program_was_not_seen() -> None:
    def given(book: Playbook, step: str) -> Playbook:
        common = {"mark": "begin", "step": step, "tool": "bash", "arguments": {"command": "make"}, "phase": None}
        return book.add("step", **common, source="mcp", caller=book.id("agent"))

    queued = given(given(agent(), "mcp:1").end_step("mcp:1").wait(5), "mcp:2")
    assert runs(queued, "make").attribution().attribution == "likely"
    assert set(queued.attribution().candidates) == {"mcp:1", "mcp:2"}
    ran = runs(given(agent(), "mcp:1"), "make").exit().act_as("agent").end_step("mcp:1").wait(5)
    assert runs(given(ran, "mcp:2"), "make").attribution().step == "mcp:2"
    assert ran.attribution().attribution == "proven"


def test_a_caller_that_is_gone_runs_nothing_any_more() -> None:
    book = runs(asked(asked(agent(), "call_1", "make"), "call_2", "sh inner.sh"), "sh inner.sh", "inner")
    asked(book, "inner_1", "git status", caller="inner").exit("inner")
    assert runs(book, "git status").attribution().attribution == "likely"


def test_only_who_was_given_a_call_runs_it() -> None:
    book = asked(agent().fork("worker", of="agent").exec("/usr/bin/python3", "w.py"), "call_1", "make")
    assert runs(book, "make", of="worker").attribution().attribution == "likely"


def test_parallel_calls_are_told_apart_by_their_programs() -> None:
    book = asked(asked(asked(agent(), "call_1", "make a"), "call_2", "make b"), "call_3", "make b")
    one = runs(book, "make a").attribution()
    assert (one.step, one.attribution) == ("call_1", "proven")
    pair = runs(book, "make b").attribution()
    assert (pair.step, pair.attribution, pair.candidates) == (None, "likely", ("call_2", "call_3"))
    other = runs(book, "make c").attribution()
    assert (other.attribution, set(other.candidates)) == ("likely", {"call_1", "call_2", "call_3"})


def test_a_call_that_has_ended_proves_nothing() -> None:
    book = asked(agent(), "call_1", "make").fork("late", of="agent").end_step("call_1")
    book.act_as("late").exec("/usr/bin/bash", "-c", "make")
    assert book.attribution().attribution == "likely"


def test_only_the_first_program_counts() -> None:
    book = runs(asked(asked(agent(), "call_1", "make"), "call_2", "rm -r x"), "make")
    book.exec("/usr/bin/bash", "-c", "rm -r x")  # the same process, told to by what it runs
    assert book.attribution().step == "call_1"


def test_a_model_called_by_a_step_opens_steps_within_it_and_for_nobody_else() -> None:
    book = runs(asked(agent(), "call_1", "claude -p x"), "claude -p x", "inner")
    asked(book, "inner_1", "make", caller="inner")
    outside = runs(asked(book, "call_2", "ls"), "make", of="agent").attribution()
    assert "inner_1" not in (outside.step, *outside.candidates)
    within = runs(book, "make", of="inner").attribution()
    assert (within.step, within.attribution) == ("inner_1", "proven")
    helper = runs(book, "git gc", of="inner").attribution()
    assert (helper.step, helper.attribution) == ("call_1", "proven")


def test_a_background_job_that_calls_the_model_stays_with_its_step() -> None:
    book = runs(asked(agent(), "call_1", "python3 job.py &"), "python3 job.py &", "job").end_step("call_1")
    asked(book, "forged", "curl x", caller="job")
    assert runs(book, "curl x", of="job").attribution().step == "forged"
    assert book.attribution().attribution == "proven"
    mine = runs(asked(book, "call_2", "ls"), "curl x", of="agent").attribution()
    assert mine.attribution == "likely"
    assert "forged" not in mine.candidates
