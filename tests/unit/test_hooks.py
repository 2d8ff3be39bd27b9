"""What a command hook says becomes claims; it is never in the way; its settings are put in and taken out cleanly."""

from __future__ import annotations

import json
import math
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit.claims import CLAIMS_VARIABLE, LINE_MAX
from remit.cli import hook_settings, main
from remit.clock.claimant import encode_claim, send_claims
from remit.clock.hooks import EVENTS, claims_of
from remit.errors import UsageError
from remit.supervisor.claims import read_claim

REMIT = Path(sys.executable).with_name("remit")
CALL = {"session_id": "s", "tool_name": "Bash", "tool_use_id": "t1", "tool_input": {"command": "ls"}}


def said(event: str, **more: Any) -> list[dict[str, Any]]:
    return claims_of({**CALL, "hook_event_name": event, **more})


def test_a_tool_call_begins_and_ends() -> None:
    common = {"step": "t1", "tool": "Bash", "source": "hook", "group": "s"}
    assert said("PreToolUse") == [{"mark": "begin", "arguments": {"command": "ls"}, **common}]
    for event in ("PostToolUse", "PostToolUseFailure", "PermissionDenied"):
        assert said(event) == [{"mark": "end", **common}]
    assert said("Stop") == [{"mark": "end", "source": "hook", "group": "s"}]


def test_a_subagents_calls_are_within_it() -> None:
    (begun,) = said("SubagentStart", agent_id="a", agent_type="Explore")
    (call,) = said("PreToolUse", agent_id="a", agent_type="Explore")
    assert (begun["step"], begun["tool"], begun["group"]) == ("subagent:a", "Explore", "s")
    assert (call["within"], call["group"]) == ("subagent:a", "s/a")
    assert [(end.get("step"), end["group"]) for end in said("SubagentStop", agent_id="a")] == [
        (None, "s/a"), ("subagent:a", "s/a"),
    ]  # fmt: skip


@pytest.mark.parametrize("what", [None, [], "x", {}, {"hook_event_name": "Notification"}, {"hook_event_name": []}])
def test_what_says_nothing_of_steps_claims_nothing(what: Any) -> None:
    assert claims_of(what) == []
    assert claims_of({"hook_event_name": "PreToolUse", "tool_use_id": ""}) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"content": "x" * 200_000},
        {str(number): "y" * 100 for number in range(5000)},
        ["é" * 50_000, math.nan, {"a": math.inf}, b"bytes", {1: 2}],
        {"list": list(range(100_000))},
    ],
)
def test_whatever_the_arguments_are_the_claim_is_taken(arguments: Any) -> None:
    line = encode_claim({"mark": "begin", "step": "s" * 500, "tool": "t", "arguments": arguments})
    assert len(line) <= LINE_MAX + 1
    assert read_claim(line)["step"] == "s" * 256


def test_deep_arguments_are_cut() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"a": [deep]}
    assert read_claim(encode_claim({"mark": "begin", "step": "s", "arguments": deep}))["arguments"]


def test_nothing_is_sent_and_nothing_raised_outside_of_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not send_claims([{"mark": "begin", "step": "s"}])
    monkeypatch.setenv(CLAIMS_VARIABLE, "/nowhere/claims")
    assert not send_claims([{"mark": "begin", "step": "s"}])


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"\xff" * 100, b"[" * 100_000, b"x" * (2 << 20)])
@pytest.mark.parametrize("place", ["", "/nowhere"])
def test_whatever_it_is_told_it_says_nothing_and_ends_with_0(text: bytes, place: str) -> None:
    done = subprocess.run([REMIT, "hook"], input=text, env={CLAIMS_VARIABLE: place}, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_hook_answers_at_once() -> None:
    """Beyond what Python itself takes; in CPU time and at its best of some runs, for this machine has other work."""

    def best(*command: str | Path) -> float:
        said = json.dumps({**CALL, "hook_event_name": "PreToolUse"}).encode()
        times = []
        for _ in range(7):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, input=said, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    assert best(REMIT, "hook") - best(sys.executable, "-c", "pass") < 0.05


OTHERS: dict[str, Any] = {
    "model": "ünïcode",
    "permissions": {"deny": ["Read(./secrets/**)"]},
    "hooks": {
        "PreToolUse": [
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "echo remit hook"}]},
            {"matcher": "*", "hooks": [{"type": "command", "command": "'/old place/remit' hook"},
                                       {"type": "prompt", "prompt": "is it safe?"}]},
        ],
        "Notification": [],
    },
}  # fmt: skip


def test_the_hook_is_put_in_beside_what_is_there_and_taken_out_again() -> None:
    once = hook_settings.with_hook(OTHERS, "/usr/bin/remit hook")
    assert hook_settings.with_hook(once, "/usr/bin/remit hook") == once
    assert {event for event in EVENTS if "/usr/bin/remit hook" in json.dumps(once["hooks"][event])} == set(EVENTS)
    assert (once["model"], once["permissions"]) == (OTHERS["model"], OTHERS["permissions"])
    text = json.dumps(once)
    assert "/old place" not in text
    assert "is it safe?" in text
    assert "echo remit hook" in text
    without = hook_settings.without_hook(once)
    assert without == hook_settings.without_hook(OTHERS)
    assert without["hooks"]["PreToolUse"][1]["hooks"] == [{"type": "prompt", "prompt": "is it safe?"}]
    assert hook_settings.without_hook(hook_settings.with_hook({"a": 1}, "remit hook")) == {"a": 1}


def test_the_settings_file_is_made_changed_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "project" / ".claude" / "settings.json"
    words = ["--settings", str(place), "--json"]
    for action, changed in (("install", True), ("install", False), ("uninstall", True), ("uninstall", False)):
        assert main(["hook", action, *words]) == 0
        assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "settings": str(place), "changed": changed}
    assert json.loads(place.read_text()) == {}
    assert os.listdir(place.parent) == ["settings.json"]


def test_a_link_and_the_files_mode_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "settings.json"
    real.write_text(json.dumps(OTHERS))
    real.chmod(0o600)
    link.symlink_to(real)
    assert main(["hook", "install", "--settings", str(link)]) == 0
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert "ünïcode" in real.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"hooks": []}', '{"hooks": {"Stop": [7]}}', '{"hooks": {"Stop": [{"hooks": 1}]}}', "// c\n{}"]
)
def test_a_file_that_is_no_settings_is_left_alone(text: str, tmp_path: Path) -> None:
    place = tmp_path / "settings.json"
    place.write_text(text)
    with pytest.raises(UsageError, match="settings"):
        hook_settings.read_settings(str(place))
    assert main(["hook", "install", "--settings", str(place)]) == 2
    assert place.read_text() == text
