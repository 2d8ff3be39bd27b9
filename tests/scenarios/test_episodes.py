"""Random episodes on the real kernel: no step is ever proven wrongly, and nine in ten are proven.

REMIT_TEST_EPISODES says how many, REMIT_TEST_SEED with which dice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_model import Call, Model, serving
from stage import Stage, charged, is_sound, new_stage

HERE = Path(__file__).parent
EPISODES = int(os.environ.get("REMIT_TEST_EPISODES", "500"))
SEED = int(os.environ.get("REMIT_TEST_SEED", "20260712"))
SESSIONS = 5
NAMES = ("build", "test", "lint", "index", "docs", "bench")  # few, so that calls ask for the same now and then


class Script:
    """Makes up episodes: by name, the calls of each turn."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._calls = 0
        self.episodes: dict[str, list[list[Call]]] = {}
        self.within: dict[str, str] = {}  # a sub-agent's calls, and the call that started it

    def episode(self, name: str, *, deep: bool = False) -> str:
        turns = self.episodes[name] = []
        tools = self._dice.choice([["bash"], ["bash"], ["shell"], ["bash", "shell"], ["script"], ["bash", "script"]])
        for turn in range(self._dice.randint(1, 3)):
            together = self._dice.choice([1, 1, 1, 2, 3])
            turns.append([self._call(self._dice.choice(tools)) for _ in range(together)])
            if not deep and self._dice.random() < 0.06:
                prompt = self.episode(f"{name}-{turn}", deep=True)
                call = Call(self._id(), "agent", {"prompt": prompt})
                turns.append([call])
                self.within |= {inner.id: call.id for calls in self.episodes[prompt] for inner in calls}
        return name

    def _id(self) -> str:
        self._calls += 1
        return f"call_{self._calls}"

    def _call(self, tool: str) -> Call:
        return Call(self._id(), tool, {"command": self._text()})

    def _text(self) -> str:
        one, other = self._work(), self._work()
        shapes = [
            one, one, f"{one}; {other}", f"{one} && {other} > log-{self._dice.randrange(9)}", f"({one}; {other})",
            f"{one} & {other}; wait", f"{one} | cat", f"setsid {one} 30 > /dev/null 2>&1 < /dev/null &",
            f"nohup {one} 30 > /dev/null 2>&1 &", f"bash -c '{one}; {other}'", f"sh <<'END'\n{one}\n{other}\nEND",
            f"for round in 1 2; do {one}; done", f"({one} 20 &)", f"sh -c '({one} &) ; exec {other}'",
            f"if {one}; then {other}; fi", f"timeout 5 {one}", f"(sleep 0.02; {one}) > /dev/null 2>&1 &",
        ]  # fmt: skip
        return self._dice.choice(shapes)

    def _work(self) -> str:
        return f"./work {self._dice.choice(NAMES)}{self._dice.choice(['', '', self._dice.randrange(99)])}"


class Episodes(Model):
    """Answers each conversation by its first message."""

    def __init__(self, episodes: dict[str, list[list[Call]]]) -> None:
        super().__init__([])
        self._episodes = episodes

    def _calls(self, path: str, request: dict[str, Any]) -> Sequence[Call]:
        turns = self._episodes[request["messages"][0]["content"]]
        done = sum(message["role"] == "assistant" for message in request["messages"])
        return turns[done] if done < len(turns) else ()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("work") / "work"
    subprocess.run(["gcc", "-O1", "-o", str(place), str(HERE / "truth.c")], check=True)
    return place


def judged(evidence: Path, truth: Path, within: dict[str, str]) -> Counter[str]:
    """How the programs that wrote down their truth were charged: proven, likely or unknown; or wrongly.

    What a sub-agent's call starts is also the call's that started the sub-agent.
    """
    found = {
        record["process"]: attribution
        for record, attribution in charged(evidence)
        if record["kind"] == "exec" and Path(record["image"]).name == "work"
    }
    counts: Counter[str] = Counter()
    for line in truth.read_text().splitlines():
        step, process = line.split()
        right, attribution = {step, within.get(step)}, found[process]
        said = {attribution.step} if attribution.attribution == "proven" else set(attribution.candidates)
        counts[attribution.attribution if said & right else "wrong"] += 1
        if not said & right or attribution.attribution != "proven":
            print(step, attribution)
    return counts


def session(stage: Stage, work: Path, dice: random.Random, episodes: int) -> Counter[str]:
    """One session of many episodes, and how its programs were charged."""
    script = Script(dice)
    names = [script.episode(f"episode-{number}") for number in range(episodes)]
    shutil.copy(HERE / "episodes_agent.py", stage.workspace / "agent.py")
    shutil.copy(work, stage.workspace)
    truth = stage.workspace / "truth"
    truth.touch()
    with serving(Episodes(script.episodes)) as model:
        scope = {
            "remit": 1, "task": "episodes", "use": ["base", "python"],
            "files": {"write": ["$WORKSPACE", "$TMPDIR"]},
            "environment": {"set": {"TRUTH_LOG": str(truth)}},
            "model": {"api": "anthropic", "upstream": f"http://127.0.0.1:{model.port}", "credential": "agent"},
        }  # fmt: skip
        place = stage.root / "scope.yaml"
        place.write_text(json.dumps(scope))
        done = stage.remit("run", "--scope", place, "--", "python3", "agent.py", *names, timeout=280)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    is_sound(stage.evidence())
    return judged(stage.evidence(), truth, script.within)


@pytest.mark.timeout(900)
def test_no_step_is_proven_wrongly_and_nine_in_ten_are_proven(tmp_path: Path, work: Path) -> None:
    counts: Counter[str] = Counter()
    for number in range(SESSIONS):
        stage = new_stage(tmp_path / str(number))
        counts += session(stage, work, random.Random(SEED + number), EPISODES // SESSIONS)
    print(counts)
    total = sum(counts.values())
    assert total > EPISODES
    assert counts["wrong"] == 0, (counts, SEED)
    assert counts["proven"] >= 0.9 * total, (counts, SEED)
