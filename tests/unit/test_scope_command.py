"""`remit scope` tells a person and a program the same thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from remit.cli import main
from remit.cli.scope import json_schema
from remit.scope.explain import WALLS
from remit.scope.gaps import GAPS
from remit.testing import Playbook


@pytest.fixture(autouse=True)
def _at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / "work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home" / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


def scope(text: str) -> str:
    Path("scope.yaml").write_text(text)
    return "scope.yaml"


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scope", "check"]) == 0
    assert main(["scope", "check", scope("remit: 1\ntask: a\n")]) == 0
    assert capsys.readouterr().out == "the default scope: OK\nscope.yaml: OK\n"


def test_check_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    name = scope("remit: 1\ntask: a\nfils: {}\n")
    assert main(["scope", "check", name]) == 121
    assert capsys.readouterr().err == "remit: scope.yaml:3:1: unknown key: fils\nhint: did you mean files?\n"
    assert main(["scope", "check", name, "--json"]) == 121
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["error"]["line"], report["error"]["column"]) == (False, 3, 1)


def test_check_tells_of_gaps_that_run_will_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    Path("key").touch()
    Path("same").hardlink_to("key")  # which no mask covers, on any host
    name = scope("remit: 1\ntask: a\nfiles: {write: [.], secrets: [key]}\n")
    assert main(["scope", "check", name]) == 0
    assert "--accept-gap secret-inside-grant" in capsys.readouterr().out
    main(["scope", "check", name, "--json"])
    assert json.loads(capsys.readouterr().out)["unaccepted_gaps"] == ["secret-inside-grant"]


def test_explain_names_grants_clauses_walls_and_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    name = scope(
        "remit: 1\ntask: a\npurpose: Say it.\nfiles: {write: [., $TMPDIR], read: [/etc/hostname]}\n"
        "network: {connect: [{cidr: 10.0.0.0/8, port: 80-90}]}\ncompute: {cpu: 1m}\nrespond: {reverse-tunnel: kill}\n"
    )
    assert main(["scope", "explain", name]) == 0
    text = capsys.readouterr().out
    for words in (
        "Say it.",
        "(files.write[0])",
        "$TMPDIR, and run  (files.write[1])",
        "(use:base@1)",
        "10.0.0.0/8 port 80-90  (network.connect[0])",
        "1 minute of CPU time  (compute.cpu)",
        "reverse-tunnel: kill  (respond)",
        "kernel     socket-kinds:",
        "polled     cpu:",
        "proc-readable (accepted)",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        ("{memory: 300MiB, cpu: 20m}", ["300 MiB of memory", "20 minutes of CPU time"]),
        ("{memory: 8GiB, wall: 1h30m}", ["8 GiB of memory", "1 hour 30 minutes by the clock"]),
        ("{memory: 1.5GiB, cpu: 500ms}", ["1.5 GiB of memory", "0.5 seconds of CPU time"]),
        ("{memory: 500MB, wall: 1d1s}", ["500 MB of memory", "1 day 1 second by the clock"]),
        ("{memory: 123456789B, wall: 90s}", ["123456789 B of memory", "1 minute 30 seconds by the clock"]),
    ],
)
def test_explain_says_budgets_as_a_person_writes_them(
    compute: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scope", "explain", scope(f"remit: 1\ntask: a\ncompute: {compute}\n")]) == 0
    text = capsys.readouterr().out
    assert [line for line in words if f"\n  {line}  (" not in text] == []


def test_explain_as_json_and_as_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    main(["scope", "explain", "--json"])
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1
    main(["scope", "explain", "--plan"])
    assert json.loads(capsys.readouterr().out)["seccomp"]


def test_explain_prints_the_default_scope_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scope", "explain", "--text"]) == 0
    assert main(["scope", "check", scope(capsys.readouterr().out)]) == 0


def test_every_wall_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    name = scope("remit: 1\ntask: a\ncompute: {cpu: 1m, memory: 1GiB, wall: 1h}\nprocesses: {at-most: 9}\n")
    main(["scope", "explain", name, "--plan"])
    assert {wall["name"] for wall in json.loads(capsys.readouterr().out)["walls"]} <= WALLS.keys()


def test_every_wall_gap_says_what_to_do() -> None:
    for name, gap in GAPS.items():
        assert gap.reason
        assert gap.hint or gap.kind == "sight", name


def test_the_schema_knows_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scope", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(json_schema()))
    assert schema["additionalProperties"] is False
    assert {"remit", "task", "accept-gaps", "nested-sandbox", "files"} <= schema["properties"].keys()
    assert "pass" in schema["$defs"]["Environment"]["properties"]


@pytest.mark.parametrize("output", ["old.yaml", "no/such/directory/x.yaml", "."])
def test_suggest_writes_a_new_file_or_says_why_not(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = Playbook().spawn("/bin/true").write(Path("evidence"))
    assert main(["scope", "suggest", f"./{evidence}", "--output", "new.yaml"]) == 0
    Path("old.yaml").write_text("mine\n")
    assert main(["scope", "suggest", f"./{evidence}", "--output", output]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["remit", "hint"]
    assert said[0].startswith(f"remit: cannot write the scope: {output}: ")
    assert Path("old.yaml").read_text() == "mine\n"
