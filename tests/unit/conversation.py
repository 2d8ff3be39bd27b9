"""A conversation as evidence: what an agent's model says, the calls it makes, what programs do, and what comes back."""

from __future__ import annotations

from typing import Any

from remit.testing import Playbook

PROGRAMS = {"python3": "/usr/bin/python3.11", "node": "/usr/bin/node", "pytest": "/usr/bin/pytest"}


class Conversation:
    """An agent whose model is reached through a gateway. Steps are call_1, call_2 ...; everything reads downwards."""

    def __init__(self, *, earlier: int = 0, **header: Any) -> None:
        self.book = Playbook(**header).spawn("/usr/bin/python3.11", "/opt/agent/agent.py", "-t", "make the tests pass")
        self.agent = self.book.id()
        self.steps: list[str] = []
        self._open = ""
        self.book.tell("Fix the failing test.", caller=self.agent, earlier=earlier)

    def call(self, line: str, *runs: str, said: str = "", result: str = "", shell: int = 0) -> Conversation:
        """The model says something and calls bash; its programs run, each `words = status` (0 if left out)."""
        self._begin("bash", {"command": line}, said)
        self.book.fork("shell", of=self.agent).exec("/usr/bin/bash", "-c", line)
        for run in runs:
            self.run(run)
        self.book.act_as("shell").exit(status=shell << 8)
        return self._end(result)

    def tool(self, name: str, arguments: Any, *, said: str = "", result: str = "", writes: str = "") -> Conversation:
        """A tool of the harness's own, without a program."""
        self._begin(name, arguments, said)
        if writes:
            self.book.act_as(self.agent).open(writes, flags=0o1101)
        return self._end(result)

    def run(self, run: str) -> None:
        """A program of the shell's: `pytest -q = 1`, or `git stash : path`, which writes that. Or the shell itself
        opens a file for writing, `> path`, or connects, `-> address:port`; with `!` in front it is refused."""
        run, _, writes = run.partition(" : ")
        words, _, status = run.partition(" = ")
        self.book.act_as("shell")
        match words.split():
            case [">", path]:
                self.book.open(path, flags=0o1101, new=True)
            case ["!>", path]:
                self.book.open(path, flags=0o1101, refused=True)
            case ["->", place]:
                self.book.connect(place)
            case ["!->", place]:
                self.book.connect(place, refused=True)
            case [program, *rest]:
                self.book.fork(of="shell").exec(PROGRAMS.get(program, f"/usr/bin/{program}"), *rest)
                if writes:
                    self.book.open(writes, flags=0o301)
                self.book.exit(status=int(status or 0) << 8)

    def say(self, text: str, **more: Any) -> Conversation:
        """The model's last word: no calls."""
        self.book.say(text, source="gateway", caller=self.agent, **{"tools": 1, **more})
        return self

    def _begin(self, tool: str, arguments: Any, said: str) -> None:
        step = f"call_{len(self.steps) + 1}"
        self.steps.append(step)
        body = {"tool": tool, "arguments": arguments, "phase": None, "source": "gateway", "caller": self.agent}
        self.book.add("step", mark="begin", step=step, **body)
        self.book.say(said, step, source="gateway", caller=self.agent, tools=1)

    def _end(self, result: str) -> Conversation:
        step = self.steps[-1]
        self.book.end_step(step)
        self.book.tell(results={step: result}, caller=self.agent, earlier=2 * len(self.steps))
        return self

    def mismatches(self) -> list[tuple[str | None, str]]:
        """Step and summary of each finding."""
        assert {finding["behaviour"] for finding in self.book.findings} <= {"say-do-mismatch"}, self.book.findings
        return [(finding["step"], finding["summary"]) for finding in self.book.findings]
