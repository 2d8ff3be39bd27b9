"""No wrong `proven`, against an MCP server that is at work on whichever of its calls it likes, whenever it likes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.testing import Playbook

COMMANDS = ("make", "make test")
# Time narrows what a birth may belong to, so that calls come seconds after one another as often as at once.
ACTS = st.lists(
    st.tuples(st.sampled_from(["begin", "begin later", "end later", "end", "run", "act"]), st.integers(0, 3)),
    min_size=4,
    max_size=24,
)


class World:
    """What is true: each call has one job, which the server does once, or never; maybe when it has long answered."""

    def __init__(self) -> None:
        self.book = Playbook().spawn("/usr/bin/python3", "server.py", name="server")
        self.open: list[str] = []
        self.jobs: list[tuple[str, str]] = []
        self.running: list[tuple[str, str]] = []
        self.calls = 0

    def act(self, act: str, number: int) -> None:
        act, _, then = act.partition(" ")
        if then:
            self.book.wait(1.0)
        match act:
            case "begin":
                self.calls += 1
                step, command = f"mcp:{self.calls}", COMMANDS[number % len(COMMANDS)]
                common = {"tool": "bash", "arguments": {"command": command}, "phase": None, "source": "mcp"}
                self.book.add("step", mark="begin", step=step, **common, caller=self.book.id("server"))
                self.open.append(step)
                self.jobs.append((step, command))
            case "end" if self.open:
                self.book.end_step(self.open.pop(number % len(self.open)))
            case "run" if self.jobs:
                step, command = self.jobs.pop(number % len(self.jobs))
                name = f"job {step}"
                self.book.fork(name, of="server").exec("/usr/bin/bash", "-c", command)
                self.running.append((step, name))
            case "act" if self.running:
                step, name = self.running[number % len(self.running)]
                self.running.append((step, f"{name}+"))
                self.book.fork(f"{name}+", of=name).exec("/usr/bin/touch", "x")


@settings(max_examples=400, deadline=None)
@given(ACTS)
def test_what_is_proven_is_true(acts: list[tuple[str, int]]) -> None:
    world = World()
    for act, number in acts:
        world.act(act, number)
        for step, name in world.running:
            found = world.book.attribution(name)
            if found.attribution == "proven":
                assert found.step == step, f"{name} is {step}'s, and said to be {found.step}'s: {found.reason}"
        own = world.book.attribution("server")
        assert own.attribution != "proven"


def test_ordinary_calls_one_after_the_other_are_proven() -> None:
    world = World()
    for command in (0, 1, 0, 1, 0):
        for act in ("begin later", "run", "act", "end"):
            world.act(act, command if act.startswith("begin") else -1)
    proven = [world.book.attribution(name).step for _, name in world.running]
    assert proven == [step for step, _ in world.running]
