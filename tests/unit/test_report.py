"""The report: built from evidence alone, the verdict first, and nothing the agent wrote can steer a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from remit.cli import main
from remit.errors import EvidenceError
from remit.findings import printable
from remit.report.summary import build_report
from remit.report.text import render_text
from remit.report.timeline import rfc3339
from remit.testing import Playbook

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")


def story() -> Playbook:
    book = Playbook(
        walls=[{"name": "landlock", "strength": "kernel", "held": True}],
        gaps=[{"name": "reads-unseen", "kind": "sight", "accepted": False, "reason": "reads are not asked about"}],
        respond={"reverse-tunnel": "kill"},
    )
    book.step("honest", "bash", {"command": "make"}).spawn("/usr/bin/make", step="honest").exit().end_step("honest")
    book.step("evil", "bash", {"command": "ssh \x1b[31m-R"}).spawn("/usr/bin/ssh", "-R", "1:localhost:2", step="evil")
    for _ in range(3):
        book.connect("203.0.113.9:22", refused=True)
    book.fork("job").end_step("evil", left_running=["job"])
    book.step("lossy").add("loss", **{"class": "exec", "count": 4, "reason": "overflow"}).end_step("lossy")
    return book.add("response", finding="f1", verdict="kill", by="engine", processes=2)


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return story().end(143).write(tmp_path / "evidence")


def test_the_report_has_the_documented_members(evidence: Path) -> None:
    report = build_report(evidence)
    assert report["schema_version"] == 1
    assert {"session", "attempts", "walls", "gaps", "steps", "denials", "findings", "counts", "lost"} <= set(report)
    assert {"id", "task", "tier", "labels", "status", "exit_source", "ended_by", "began", "ended"} <= set(
        report["session"]
    )
    assert report["session"]["status"] == 143
    assert {step["id"]: step["state"] for step in report["steps"]} == {
        "honest": "in-scope",
        "evil": "out-of-scope",
        "lossy": "unknown",
    }
    assert [step["event_count"] for step in report["steps"]] == [3, 6, 0]
    assert report["steps"][1]["left_running"] == [{"process": story().id("job"), "image": "/usr/bin/ssh"}]
    assert report["lost"] == {"exec": 4}
    assert report["counts"]["connect"] == 3
    assert all(RFC3339.match(step[name]) for step in report["steps"] for name in ("began", "ended"))
    json.dumps(report)


def test_denials_are_grouped_and_counted(evidence: Path) -> None:
    (denial,) = build_report(evidence)["denials"]
    assert (denial["operation"], denial["object"], denial["count"]) == ("connect", "203.0.113.9:22", 3)
    assert (denial["step"], denial["attribution"], denial["clause"]) == ("evil", "proven", "network.connect")


def test_a_step_that_may_have_done_it_is_unknown(tmp_path: Path) -> None:
    book = Playbook().step("a").spawn(step="a", name="shell").end_step("a", shared=["shell"]).step("b")
    book.act_as("shell").connect("203.0.113.9:22", refused=True)
    report = build_report(book.write(tmp_path))
    assert [step["state"] for step in report["steps"]] == ["unknown", "unknown"]
    assert report["denials"][0]["candidates"] == ["b", "a"]
    assert report["session"]["closed"] is False
    assert report["session"]["ended"] is None


def test_the_text_says_the_verdict_first_and_who_did_it(evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(evidence)]) == 0
    text = capsys.readouterr().out
    order = ["VERDICT   out of scope: reverse-tunnel (attempted)", "WHAT WAS DONE", "who: agent", "STEP BY STEP",
             "WHAT WAS REFUSED", "(3 times)", "WHAT HELD", "landlock (kernel)", "GAPS", "LOST"]  # fmt: skip
    positions = [text.index(words) for words in order]
    assert positions == sorted(positions)
    assert "kill by the engine for finding f1, which reached 2 process(es)" in text
    assert "\x1b" not in text


def test_a_quiet_session_says_so(tmp_path: Path) -> None:
    text = render_text(build_report(Playbook().spawn("/bin/true").exit().end().write(tmp_path)))
    assert "in scope: no finding and no refused act" in text
    assert "ended with status 0" in text


def test_a_session_that_was_cut_short_or_cut_off_or_goes_on_is_not_called_in_scope(tmp_path: Path) -> None:
    begun = Playbook().spawn("/bin/true").write(tmp_path / "begun")
    assert "VERDICT   unknown: no finding and no refused act until the recording" in render_text(build_report(begun))
    running = render_text(build_report(begun, running=True))
    assert "VERDICT   open: no finding and no refused act so far" in running
    assert "still running" in running
    assert "cut off" not in running
    book = Playbook().spawn("/bin/true").add("response", finding=None, verdict="freeze", by="operator", processes=1)
    frozen = render_text(build_report(book.write(tmp_path / "frozen"), running=True))
    assert "it is frozen until `remit resume`" in frozen
    members = {"status": None, "exit_source": "remit", "ended_by": "compute.wall", "left_running": []}
    short = Playbook().spawn("/bin/true").add("end", **members).write(tmp_path / "short")
    assert "cut short: no finding and no refused act until it was ended by compute.wall" in render_text(
        build_report(short)
    )


def test_what_ordinary_programs_meet_is_said_in_words_with_advice(tmp_path: Path) -> None:
    book = Playbook().spawn("/usr/bin/curl")
    refused = {"process": book.id(), "errno": 13, "refused": True, "wall": "w", "clause": "c"}
    book.add("flow", operation="socket", family=2, type=2, protocol=0, **refused)
    book.add("flow", operation="socket", family=1, type=2, protocol=0, **refused)
    book.add("flow", operation="socket", family=16, type=3, protocol=9, **refused)
    book.add("flow", operation="send", **refused)
    book.add("privilege", operation="ptrace", arguments=[0], **refused)
    book.exec("/usr/bin/strace").add("privilege", operation="unshare", arguments=[0], **refused)
    text = render_text(
        build_report(book.add("privilege", operation="ptrace", arguments=[0], **refused).write(tmp_path))
    )
    for words in (
        "curl: socket for UDP (DNS look-up?)  [w, c]\n      hint: ",
        "curl: socket for unix datagrams (system log?)  [w, c]",
        "curl: socket of family netlink, type raw, protocol 9  [w, c]",
        "curl: send to an address  [w, c]",
        "curl: ptrace  [w, c]\n      hint: if this is LeakSanitizer, ASAN_OPTIONS=detect_leaks=0",
        "strace: unshare  [w, c]",
        "strace: ptrace  [w, c]\n      hint: no scope grants ptrace",
    ):
        assert words in text
    assert text.count("no steps") == 1
    assert "step: none" not in text


def test_a_setting_of_its_own_that_a_process_may_not_write_is_no_refused_act(tmp_path: Path) -> None:
    book = Playbook().spawn("/usr/bin/java").open("/proc/1/coredump_filter", refused=True, routine=True)
    report = build_report(book.exit().end().write(tmp_path / "routine"))
    assert (report["denials"], report["routine_refusals"]) == ([], 1)
    assert "in scope: no finding and no refused act" in render_text(report)
    book = Playbook().spawn("/usr/bin/java").open("/proc/1/coredump_filter", refused=True)
    assert len(build_report(book.write(tmp_path / "act"))["denials"]) == 1


def test_a_failure_without_a_refusal_may_be_a_read_that_nobody_saw(tmp_path: Path) -> None:
    text = render_text(build_report(Playbook().spawn("/bin/cat").exit().end(1).write(tmp_path)))
    assert "files.read" in text


def test_what_is_left_running_is_named_and_counted(tmp_path: Path) -> None:
    book = Playbook().step("call").spawn("/bin/sh", step="call", name="shell")
    names = [f"job{index}" for index in range(14)]
    for name in names:
        book.fork(name, of="shell").exec("/bin/sleep", "9")
    book.end_step("call", left_running=names)
    left = [book.id(name) for name in names]
    book.add("end", status=0, exit_source="command", ended_by="command", left_running=left)
    text = render_text(build_report(book.write(tmp_path)))
    pid = left[0].partition(":")[0]
    assert f"left running: sleep[{pid}], sleep[" in text
    assert " and 2 more\n" in text
    assert f"LEFT RUNNING AT THE END\n  sleep[{pid}]\n" in text
    assert "  and 2 more, in the JSON report\n" in text


def test_the_json_report_is_what_build_report_returns(evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--format", "json", str(evidence)]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown == build_report(evidence)


def test_evidence_without_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segment-000001.jsonl").write_bytes(b'{"n":1,"kind":"exit"}\n')
    with pytest.raises(EvidenceError, match="header"):
        build_report(tmp_path)


def test_times_and_strings() -> None:
    assert rfc3339(1_767_225_600_000_000_001) == "2026-01-01T00:00:00.000000001Z"
    marked = "\N{REPLACEMENT CHARACTER}"
    assert printable("a\x1b[0m\u202e\u200b\udcff\nb é 漢") == f"a{marked}[0m{marked}{marked}{marked}{marked}b é 漢"
    assert printable("x" * 300) == "x" * 200 + "..."


def test_losses_make_the_steps_unknown_in_which_they_fell_and_no_other(tmp_path: Path) -> None:
    book = Playbook().step("a").end_step("a").step("b")
    book.add("loss", **{"class": "exec"}, count=3, reason="no space for evidence", since=1, steps=["a"])
    report = build_report(book.end_step("b").end().write(tmp_path))
    assert [(step["id"], step["state"], step["lost"]) for step in report["steps"]] == [
        ("a", "unknown", 3),
        ("b", "in-scope", 0),
    ]
    assert report["lost"] == {"exec": 3}


def test_an_evidence_that_is_not_signed_to_its_end_is_a_gap(tmp_path: Path) -> None:
    report = build_report(Playbook().add("unsigned", reason="the notary died").end().write(tmp_path))
    (gap,) = [gap for gap in report["gaps"] if gap["name"] == "evidence-unsigned"]
    assert (gap["kind"], gap["accepted"]) == ("sight", False)
    assert gap["reason"].endswith("the notary died")


@pytest.mark.parametrize("command", ["report", "replay"])
@pytest.mark.parametrize(
    ("before", "after"),
    [(b'"kind":"connect"', b'"kind":connect'), (b'"kind":"connect","process"', b'"kind":"connect","x"')],
)
def test_damage_names_the_record_and_who_tells_more(
    evidence: Path, capsys: pytest.CaptureFixture[str], command: str, before: bytes, after: bytes
) -> None:
    segment = evidence / "segment-000001.jsonl"
    lines = segment.read_bytes().split(b"\n")
    number = next(index for index, line in enumerate(lines, 1) if before in line)
    lines[number - 1] = lines[number - 1].replace(before, after)
    segment.write_bytes(b"\n".join(lines))
    assert main([command, str(evidence)]) == 124
    said = capsys.readouterr().err
    # What the engine makes of a record that lacks something is for replay to compare.
    assert said.startswith(f"remit: record {number} is not what was written: ") or (command, b'"x"' in after) == (
        "replay",
        True,
    )
    assert said.endswith(f"hint: remit verify {evidence}\n")
