"""A shell that the harness keeps: what it starts is proven to be a call's only when no other call can mean it."""

from __future__ import annotations

from remit.clock.declared import declared
from remit.findings import Attribution
from remit.testing import Playbook


def agent() -> Playbook:
    """The agent's own process with a shell that it keeps, which is the current process."""
    book = Playbook().spawn("/usr/bin/node", "agent.js", name="agent", source="run")
    return book.fork("shell").exec("/usr/bin/bash", "--norc")


def asked(book: Playbook, step: str, command: str) -> Playbook:
    arguments = {"command": command}
    common = {"mark": "begin", "step": step, "tool": "bash", "arguments": arguments, "phase": None}
    return book.add("step", **common, source="gateway", caller=book.id("agent"), declared=declared(arguments))


def ends(book: Playbook, step: str) -> Playbook:
    return book.end_step(step, shared=["shell"])


def starts(book: Playbook, *program: str, of: str = "shell") -> Attribution:
    return book.fork(of=of).exec(f"/usr/bin/{program[0]}", *program[1:]).attribution()


def proven(found: Attribution) -> str | None:
    return found.step if found.attribution == "proven" else None


def test_a_program_that_one_call_names_is_its_and_so_is_what_comes_of_it() -> None:
    book = ends(asked(agent(), "call_1", "ls -a"), "call_1")
    asked(book, "call_2", "cd x && make -j2 all; uname > out")
    assert proven(starts(book, "make", "-j2", "all")) == "call_2"
    assert proven(book.fork().exec("/usr/bin/cc", "-c", "x.c").attribution()) == "call_2"
    assert proven(starts(book, "uname")) == "call_2"


def test_what_no_call_names_and_what_two_may_mean_stays_likely() -> None:
    book = asked(asked(agent(), "call_1", "ls -a; date"), "call_2", "cat $X; date")
    assert proven(starts(book, "uname")) is None
    found = starts(book, "date")
    assert (found.attribution, set(found.candidates)) == ("likely", {"call_1", "call_2"})
    found = starts(book, "cat", "a", "b")
    assert (found.attribution, found.candidates) == ("likely", ("call_2",))  # it rests on a word that nobody knows


def test_a_place_in_a_text_is_one_program() -> None:
    book = asked(agent(), "call_1", "pytest -q")
    assert proven(starts(book, "pytest", "-q")) == "call_1"
    asked(ends(book, "call_1"), "call_2", "pytest -q")
    assert proven(starts(book, "pytest", "-q")) == "call_2"
    assert proven(starts(book, "pytest", "-q")) is None


def test_one_that_did_not_run_may_still_come() -> None:
    book = ends(asked(agent(), "call_1", "sleep 99; pytest -q"), "call_1")
    asked(book, "call_2", "pytest -q")
    assert proven(starts(book, "pytest", "-q")) is None


def test_two_that_could_not_be_told_apart_have_both_run() -> None:
    book = asked(asked(agent(), "call_1", "date"), "call_2", "date")
    assert [proven(starts(book, "date")) for _ in range(2)] == [None, None]
    asked(ends(ends(book, "call_1"), "call_2"), "call_3", "date")
    assert proven(starts(book, "date")) == "call_3"


def test_a_loop_never_has_run() -> None:
    book = asked(asked(agent(), "call_1", "for x in 1 2; do date; done"), "call_2", "date")
    assert [proven(starts(book, "date")) for _ in range(3)] == [None, None, None]


def test_a_shell_that_came_to_a_later_text_is_through_with_the_one_before() -> None:
    book = ends(asked(agent(), "call_1", "test -f x || make; for x in 1 2; do date; done"), "call_1")
    asked(book, "call_2", "uname; make; date")
    assert proven(starts(book, "make")) is None
    assert proven(starts(book, "uname")) == "call_2"
    assert [proven(starts(book, *program)) for program in (("make",), ("date",))] == ["call_2", "call_2"]


def test_texts_that_were_under_way_together_may_be_run_in_any_order() -> None:
    book = asked(asked(agent(), "call_1", "uname; date"), "call_2", "make; date")
    assert proven(starts(book, "make")) == "call_2"
    assert proven(starts(book, "date")) is None


def test_an_agent_within_a_step_keeps_shells_of_its_own() -> None:
    book = Playbook().spawn("/usr/bin/node", "agent.js", name="agent", source="run")
    book.step("outer", "agent", {"prompt": "x"}, source="gateway")
    book.fork("inner", of="agent").exec("/usr/bin/node", "agent.js")
    book.fork("shell", of="inner").exec("/usr/bin/bash")
    arguments = {"command": "make; date"}
    common = {"mark": "begin", "step": "inner_1", "tool": "bash", "arguments": arguments, "phase": None}
    book.add("step", **common, source="gateway", caller=book.id("inner"), declared=declared(arguments))
    assert proven(starts(book, "make")) == "inner_1"
    assert proven(starts(book, "uname")) is None


def test_a_call_that_may_run_anything_is_possible_for_ever() -> None:
    book = ends(asked(agent(), "call_1", "source setup.sh"), "call_1")
    asked(book, "call_2", "make")
    assert proven(starts(book, "make")) is None


def test_a_call_without_a_command_may_mean_anything_while_it_is_under_way() -> None:
    book = agent().step("call_1", "edit", {"path": "a"}, source="gateway")
    asked(book, "call_2", "make")
    assert proven(starts(book, "make")) is None


def test_only_what_the_shell_itself_starts_counts() -> None:
    book = ends(asked(agent(), "call_1", "sh later.sh &"), "call_1")
    book.fork("later", of="shell").exec("/usr/bin/dash", "later.sh")
    asked(book, "call_2", "ls -l")
    assert proven(starts(book, "ls", "-l", of="later")) is None
    assert proven(starts(book, "ls", "-l")) == "call_2"


def test_a_subshell_is_the_calls_that_its_programs_are() -> None:
    book = asked(agent(), "call_1", "(sleep 9; ./work) &")
    book.fork("subshell", of="shell")
    assert proven(starts(book, "sleep", "9", of="subshell")) == "call_1"
    asked(ends(book, "call_1"), "call_2", "date")
    assert proven(starts(book, "date", of="subshell")) == "call_1"  # whatever it is, the subshell started it
    assert proven(starts(book, "date")) == "call_2"


def test_the_harness_keeping_house_after_the_step_is_nobodys() -> None:
    book = ends(asked(agent(), "call_1", "test -f x || git status"), "call_1")
    assert proven(starts(book, "git", "status")) is None


def test_a_program_of_the_workspace_is_no_shell() -> None:
    book = Playbook().spawn("/usr/bin/node", "agent.js", name="agent", source="run")
    book.fork("shell").exec("/work/bash")
    assert proven(starts(asked(book, "call_1", "date"), "date")) is None


def test_what_the_harness_runs_beside_a_call_that_was_found_whole_is_nobodys() -> None:
    book = asked(Playbook().spawn("/usr/bin/node", "agent.js", name="agent", source="run"), "call_1", "rm -f x; uname")
    assert proven(book.fork(of="agent").exec("/usr/bin/bash", "-c", "rm -f x; uname").attribution()) == "call_1"
    assert proven(book.fork().exec("/usr/bin/rm", "-f", "x").attribution()) == "call_1"
    for text in ("-c", "-s"):
        book.fork("hook", of="agent").exec("/usr/bin/bash", text, "rm -f x; :")
        assert proven(starts(book, "rm", "-f", "x", of="hook")) is None


def test_another_image_by_that_name_is_not_what_was_asked_for() -> None:
    book = asked(agent(), "call_1", "ls -l")
    body = {"arguments": ["ls", "-l"], "directory": "/work", "confirmed": True, "errno": 0, "refused": False}
    book.fork(of="shell")
    book.add("exec", process=book._current, image="/work/ls-evil", **body, clause=None)
    assert proven(book.attribution()) is None


def test_arguments_that_are_not_all_there_prove_nothing() -> None:
    book = asked(agent(), "call_1", "ls -l")
    body = {"arguments": ["ls", "-l"], "directory": "/work", "confirmed": True, "errno": 0, "refused": False}
    book.fork(of="shell")
    book.add("exec", process=book._current, image="/usr/bin/ls", **body, clause=None, truncated=True)
    assert proven(book.attribution()) is None


def test_a_script_is_run_by_its_interpreter() -> None:
    book = asked(agent(), "call_1", "./build --all")
    book.fork(of="shell").add(
        "exec", process=book._current, image="/usr/bin/dash", arguments=["/bin/sh", "./build", "--all"],
        directory="/work", confirmed=True, errno=0, refused=False, clause=None,
    )  # fmt: skip
    assert proven(book.attribution()) == "call_1"
