"""Attribution: proven only by lineage, likely with the true step among the candidates, unknown rather than guessed."""

from __future__ import annotations

from remit.testing import Playbook


def told(book: Playbook, name: str = "") -> tuple[str | None, str, tuple[str, ...]]:
    found = book.attribution(name)
    return found.step, found.attribution, found.candidates


def test_what_the_supervisor_started_for_a_step_is_proven() -> None:
    book = Playbook().step("a").spawn("/bin/true", step="a")
    assert told(book) == ("a", "proven", ())
    assert book.attribution().reason == "started by the supervisor for step a"
    assert book.attribution().steps_in_force == ("a",)


def test_a_background_job_keeps_its_birth_step_through_double_forks_and_later_steps() -> None:
    book = Playbook().step("a").spawn(step="a").fork("middle").fork("job").exit("middle").end_step("a").step("b")
    assert told(book, "job") == ("a", "proven", ())
    assert told(book.fork(of="job")) == ("a", "proven", ())
    assert told(book.fork(of="job", via="children")) == ("a", "proven", ())
    assert book.attribution().steps_in_force == ("b",)


def test_pid_reuse_does_not_inherit() -> None:
    book = Playbook().step("a").add("fork", process="7:1", parent=None, via="spawn", step="a")
    assert told(book, "7:1")[1] == "proven"
    assert told(book, "7:2") == (None, "unknown", ())


def test_the_agents_own_process_and_its_children() -> None:
    book = Playbook().spawn("/usr/bin/agent", name="agent")
    assert told(book) == (None, "unknown", ())
    assert told(book.fork("helper", of="agent")) == (None, "unknown", ())
    book.wait(1).step("a").wait(1)
    assert told(book, "agent") == ("a", "likely", ("a",))
    assert told(book.fork("one", of="agent")) == ("a", "likely", ("a",))
    assert told(book.fork(of="one")) == ("a", "likely", ("a",))
    # A helper of the agent that runs since before the steps is no step's; its children go by their birth.
    assert told(book.fork(of="helper")) == ("a", "likely", ("a",))
    book.step("b").wait(1)
    assert told(book.fork(of="agent")) == (None, "likely", ("a", "b"))


def test_a_child_that_is_recorded_late_keeps_the_step_of_its_birth_among_the_candidates() -> None:
    book = Playbook().spawn("/usr/bin/agent", name="agent").wait(1).step("a").wait(1)
    born = book.fork("prompt", of="agent").id().partition(":")[2]
    book.wait(1).end_step("a").wait(1).step("b").wait(1)
    book.add("fork", process=f"77:{born}", parent=book.id("agent"), via="children")
    assert told(book, "77:" + born) == (None, "likely", ("b", "a"))


def test_orphans_are_never_proven() -> None:
    book = Playbook().step("a").spawn(step="a", name="one").step("b").spawn(step="b", name="two")
    assert told(book.orphan("one")) == ("a", "likely", ("a",))
    assert told(book.orphan("one", "two")) == (None, "likely", ("a", "b"))
    assert told(book.orphan()) == (None, "unknown", ())
    # One that could be its parent is not known, so the true step may be none of the others.
    assert book.orphan("one", "9:9").attribution().attribution == "unknown"
    assert book.fork().attribution().attribution == "unknown"


def test_a_persistent_shell_over_twenty_steps_is_never_wrongly_proven() -> None:
    book = Playbook().step("s1").spawn("/bin/bash", step="s1", name="shell")
    assert told(book.fork("job", of="shell")) == ("s1", "proven", ())
    book.end_step("s1", shared=["shell"], left_running=["shell", "job"])
    assert told(book, "job") == ("s1", "proven", ())
    for number in range(2, 21):
        step = f"s{number}"
        book.step(step).fork("child", of="shell").fork("grandchild", of="child")
        for name in ("shell", "child", "grandchild"):
            found = book.attribution(name)
            assert found.attribution == "likely"
            assert found.candidates[0] == step
            assert set(found.candidates) >= {f"s{n}" for n in range(1, number + 1)}
        book.end_step(step, shared=["shell"])
    # Between steps it may do what any of them asked for.
    assert told(book.fork(of="shell"))[2][0] == "s20"


def test_a_shell_inside_the_shared_shell_hears_later_steps_too() -> None:
    book = Playbook().step("s1").spawn(step="s1", name="shell").end_step("s1", shared=["shell"])
    book.step("s2").fork("inner", of="shell").end_step("s2", shared=["shell"]).step("s3")
    assert "s3" in told(book.fork(of="inner"))[2]


def test_a_shell_whose_own_step_still_runs_stays_proven() -> None:
    book = Playbook().step("a").step("b").spawn(step="b", name="shell").end_step("a", shared=["shell"])
    assert told(book, "shell") == ("b", "proven", ())
    book.end_step("b", shared=["shell"])
    assert told(book, "shell") == (None, "likely", ("b", "a"))


def test_an_orphan_of_a_shared_shell_has_all_its_candidates() -> None:
    book = Playbook().step("a").spawn(step="a", name="shell").end_step("a", shared=["shell"]).step("b")
    assert told(book.orphan("shell")) == (None, "likely", ("b", "a"))


def origin(book: Playbook) -> dict[str, object]:
    found: dict[str, object] = book.open_gpu(refused=True).findings[-1]["origin"]
    return found


def test_the_agent_is_named_with_reasons_and_what_would_refute_it() -> None:
    book = Playbook().step("a", "bash", {"command": "python3 x.py"}).spawn("/bin/bash", step="a", name="shell")
    found = origin(book.fork().exec("/usr/bin/python3", "x.py"))
    assert found["who"] == "agent"
    assert found["reasons"] == [
        "it descends from what the supervisor started for tool call a (bash)",
        "its lineage from there is unbroken: bash[1001] > python3 x.py[1002]",
        "no other process entered the session",
        "the arguments of tool call a name python3",
    ]
    assert found["refuted_by"]


def test_the_chain_tells_what_a_process_ran_before() -> None:
    book = Playbook().step("a").spawn("/bin/bash", "-c", "...", step="a").exec("/usr/bin/env", "x").exec("/usr/bin/x")
    assert "unbroken: bash then env then x[1001]" in str(origin(book)["reasons"])


def test_an_operator_is_not_the_agent() -> None:
    book = Playbook().spawn("/usr/bin/agent", source="run").spawn("/bin/sh", source="exec").fork()
    assert origin(book)["who"] == "operator"
    book.step("a").spawn("/bin/sh", step="a")
    assert "an operator put 1 other command(s)" in str(origin(book)["reasons"])


def test_a_way_in_or_a_lost_lineage_makes_the_origin_unknown() -> None:
    book = Playbook().step("a").spawn("/bin/sh", step="a", name="sh").listen("0.0.0.0:4444").fork().exec("/work/x")
    assert origin(book)["who"] == "unknown"
    assert origin(Playbook().step("a").spawn("/bin/sh", step="a").orphan())["who"] == "unknown"
    book = Playbook().step("a").spawn("/bin/sh", step="a", name="sh").orphan("sh")
    assert origin(book)["who"] == "agent"
    assert origin(Playbook().spawn("/usr/bin/agent").spawn("/bin/sh"))["who"] == "unknown"


def test_after_records_were_lost_nobody_is_sure_who_came_in() -> None:
    book = Playbook().step("a").spawn("/bin/sh", step="a")
    book.add("loss", **{"class": "fork"}, count=3, reason="no space for evidence", since=1, steps=["a"])
    found = origin(book.fork().exec("/work/x"))
    assert found["who"] == "unknown"
    assert "records were lost" in str(found["reasons"])
