"""Attribution against a model that knows the truth: no wrong `proven`, and the true step in every `likely`.

The model plays a harness, an agent, persistent shells, background jobs and double forks at random. Births are reported
late, as a supervisor reports them: at the child's first question, at the parent's end, or without a parent.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from remit.testing import Playbook


@dataclass
class World:
    """Processes and the steps they truly act for; `unreported` have been born and not been recorded yet."""

    dice: random.Random
    book: Playbook = field(default_factory=Playbook)
    truth: dict[str, str | None] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)
    unreported: list[str] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)
    shells: dict[str, str] = field(default_factory=dict)  # shell -> the step it was started for
    running: list[str] = field(default_factory=list)
    begun: int = 0
    serial: int = 0

    def begin(self) -> None:
        self.begun += 1
        step = f"s{self.begun}"
        self.book.step(step)
        self.running.append(step)

    def end(self) -> None:
        if self.running:
            step = self.running.pop(self.dice.randrange(len(self.running)))
            shared = [shell for shell in self.shells if shell in self.alive and shell not in self.unreported]
            self.book.end_step(step, shared=shared)

    def spawn(self) -> None:
        if self.running:
            step = self.dice.choice(self.running)
            process = self.book.spawn(step=step).id()
            self.truth[process] = step
            self.alive.add(process)
            if self.dice.random() < 0.3:
                self.shells[process] = step

    def work_for_itself(self) -> None:
        """A program of a step forks: the child acts for the same step."""
        plain = [p for p in self.alive if p not in self.shells and p != "agent" and self.truth[p]]
        if plain:
            parent = self.dice.choice(sorted(plain))
            self.born(parent, self.truth[parent])

    def type_into_shell(self) -> None:
        """The harness sends a command of a running step to a shell that outlived its own."""
        usable = sorted(shell for shell, own in self.shells.items() if shell in self.alive)
        if usable and self.running:
            shell = self.dice.choice(usable)
            own = self.shells[shell]
            self.born(shell, own if own in self.running else self.dice.choice(self.running))

    def agent_works(self) -> None:
        """The agent's own process starts something for a running step."""
        if self.running:
            self.born(self.book.id("agent"), self.dice.choice(self.running))

    def born(self, parent: str, step: str | None) -> None:
        self.serial += 1
        start = (self.book._clock - 1_767_225_600_000_000_000) // 10_000_000
        child = f"{50_000 + self.serial}:{start}"
        self.truth[child], self.parent[child] = step, parent
        self.alive.add(child)
        self.unreported.append(child)
        if self.dice.random() < 0.5:
            self.report(child)

    def report(self, child: str) -> None:
        """The supervisor meets the process; ancestors that it has not met come first, as children of theirs."""
        if child not in self.unreported:
            return
        self.report(self.parent[child])
        self.unreported.remove(child)
        if self.dice.random() < 0.1:
            others = self.dice.sample(sorted(self.met()), k=min(2, len(self.met())))
            candidates = list(dict.fromkeys([self.parent[child], *others]))
            self.book.add("fork", process=child, parent=None, via="orphan", candidates=candidates)
        else:
            self.book.add("fork", process=child, parent=self.parent[child], via="parent")

    def die(self) -> None:
        mortal = sorted(self.alive - {"agent"})
        if mortal:
            process = self.dice.choice(mortal)
            self.report(process)
            for child in [c for c in self.unreported if self.parent[c] == process]:
                self.report(child)
            self.alive.discard(process)
            self.book.exit(process)

    def met(self) -> set[str]:
        return {process for process in self.truth if process not in self.unreported}

    def check(self) -> tuple[int, int]:
        proven = total = 0
        for process in self.met() - set(self.shells):
            found = self.book.attribution(process)
            total += 1
            proven += found.attribution == "proven"
            if found.attribution == "proven":
                assert found.step == self.truth[process], process
            elif found.attribution == "likely":
                assert self.truth[process] in found.candidates, (process, self.truth[process], found)
        return proven, total


@pytest.mark.parametrize("seed", range(60))
def test_no_wrong_proven_and_the_truth_in_every_likely(seed: int) -> None:
    dice = random.Random(seed)
    world = World(dice)
    world.book.spawn(name="agent")
    acts = [world.begin, world.end, world.spawn, world.spawn, world.work_for_itself, world.work_for_itself,
            world.type_into_shell, world.agent_works, world.die]  # fmt: skip
    for _ in range(250):
        dice.choice(acts)()
        world.book.wait(dice.choice([0.001, 0.02, 0.5]))
    world.check()
    for process in list(world.unreported):
        world.report(process)
    world.check()
