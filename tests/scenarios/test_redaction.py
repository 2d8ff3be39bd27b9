"""Secrets that an agent, a harness or a scope says stand nowhere in the evidence, and findings need none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage import Stage, is_sound, records

import remit
from remit.boundary.host import find_host
from remit.report.summary import build_report

pytestmark = pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")

SECRET, PASSED, SET, LABEL = "hunter2-Tr0ub4dor", "passed-by-scope-1", "set-by-scope-22", "label-secret-333"


def text_of(evidence: Path) -> str:
    return "".join(path.read_text() for path in sorted(evidence.glob("segment-*.jsonl")))


def test_what_a_command_says_is_redacted(stage: Stage) -> None:
    scope = stage.root / "scope.yaml"
    scope.write_text(
        "remit: 1\ntask: t\nuse: [base]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
        f"environment: {{pass: [SERVICE_TOKEN], set: {{OTHER_SECRET: {SET}}}}}\n"
    )
    script = (
        f'echo "$SERVICE_TOKEN" "$OTHER_SECRET" > "out-$SERVICE_TOKEN"; /bin/echo --password={SECRET} "$OTHER_SECRET";'
        f" /bin/echo 'Authorization: Bearer {SECRET}' https://ada:{SECRET}@host/; touch {SECRET}-is-no-secret-here"
    )
    environment = {**stage.environment, "SERVICE_TOKEN": PASSED}
    done = stage.remit(
        "run", "--scope", scope, "--label", f"api-key={LABEL}", "--", "sh", "-c", script, env=environment
    )
    assert done.returncode == 0, done.stderr
    # What the command does is its own: nothing is redacted there.
    assert done.stdout.startswith(f"--password={SECRET} {SET}\n")
    assert (stage.workspace / f"out-{PASSED}").read_text() == f"{PASSED} {SET}\n"
    evidence = stage.evidence()
    is_sound(evidence)
    text = text_of(evidence)
    for secret in (PASSED, SET, LABEL, f"={SECRET}", f"Bearer {SECRET}", f":{SECRET}@"):
        assert secret not in text, secret
    assert f"{SECRET}-is-no-secret-here" in text
    opened = [record["path"] for record in records(evidence, "open") if "/out-" in record["path"]]
    assert opened
    assert all(path.rpartition("/")[2].startswith("out-<redacted:environment:") for path in opened)
    counted = build_report(evidence)["redacted"]
    assert {"environment", "option", "header", "url", "member"} <= set(counted)
    assert "REDACTED BEFORE IT WAS WRITTEN" in stage.remit("report", "last").stdout


def test_what_a_harness_says_is_redacted_and_the_steps_are_charged_as_before(stage: Stage, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    arguments = {"command": f"true --token {SECRET}", "password": SECRET}
    with (
        remit.Session(workspace=stage.workspace, evidence=evidence) as session,
        session.step("call_1", tool="bash", arguments=arguments),
    ):
        assert session.run(["/bin/true", "--token", SECRET]).returncode == 0
    is_sound(evidence)
    assert SECRET not in text_of(evidence)
    (step,) = build_report(evidence)["steps"]
    assert (step["id"], step["state"]) == ("call_1", "in-scope")
    assert step["arguments"]["command"].startswith("true --token <redacted:option:")
    (run,) = [record for record in records(evidence, "exec") if record["image"].endswith("/true")]
    # The secret of the tool call and that of the program are one: their digests say so.
    assert run["arguments"][2] == step["arguments"]["command"].split()[2]
