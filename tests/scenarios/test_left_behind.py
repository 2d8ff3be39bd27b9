"""What a session leaves for others to run or follow is in its report; ordinary work leaves nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stage import Stage, is_sound, objections

from remit.boundary.host import find_host
from remit.report.summary import build_report
from remit.report.text import render_text
from remit.supervisor.persistence import MOST_TREES

pytestmark = pytest.mark.skipif(not find_host().seccomp_notify, reason="needs seccomp user notification")

GIT = "git -c user.name=a -c user.email=a@example.org -c init.defaultBranch=main"


def left(stage: Stage, script: str, *words: str) -> list[tuple[str, str, str, str]]:
    """Run a script in a session; what it left behind: path beneath the stage, class, change, detail."""
    done = stage.remit("run", *words, "--", "sh", "-euc", script)
    assert done.returncode == 0, done.stderr
    is_sound(stage.evidence())
    report: dict[str, Any] = build_report(stage.evidence())
    json.dumps(report)
    return [
        (item["path"].removeprefix(f"{stage.root}/"), item["class"], item["change"], item["detail"])
        for item in report["left_behind"]
    ]


def outside(stage: Stage, script: str) -> None:
    subprocess.run(["sh", "-euc", script], cwd=stage.workspace, env=stage.environment, check=True, capture_output=True)


# What the agent does, and what of it is listed: path beneath the workspace, class, detail.
LEAVES: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("printf 'echo hi' > .envrc", [(".envrc", "shell", "")]),
    ("mkdir .vscode; echo '{}' > .vscode/tasks.json", [(".vscode/tasks.json", "editor", "")]),
    ("mkdir -p .claude; echo '{}' > .claude/settings.json", [(".claude/settings.json", "agent", "")]),
    ("echo 'repos: []' > .pre-commit-config.yaml", [(".pre-commit-config.yaml", "git-hook", "")]),
    ("echo 'import os' > evil.pth; touch conftest.py", [("conftest.py", "python", ""), ("evil.pth", "python", "")]),
    # Names that no opening for writing ever had: renamed, linked, and made runnable.
    ("echo x > a; mv a .envrc", [(".envrc", "shell", "")]),
    ("echo x > a; ln a sitecustomize.py; rm a", [("sitecustomize.py", "python", "")]),
    ("git init -q .; cd .git/hooks; echo x > p; chmod +x p; mv p pre-push", [(".git/hooks/pre-push", "git-hook", "")]),
    ("git init -q .; mkdir .husky; mv .git/hooks .h; ln -s ../.husky .git/hooks; echo > .husky/x; chmod +x .husky/x",
     [(".git/hooks/x", "git-hook", ""), (".husky/x", "git-hook", "")]),
    # A setting that makes git run something; the same file without one is ordinary.
    ("git init -q .; git config core.hooksPath /tmp/x; git config user.name a",
     [(".git/config", "git-config", "core.hookspath")]),
    ("git init -q .; printf '[core] fsmonitor = ./x\\n[alias]\\nst = \"!x\"\\n' >> .git/config",
     [(".git/config", "git-config", "alias.st core.fsmonitor")]),
    # Links that lead out of the workspace.
    ("ln -s /etc/passwd data", [("data", "symlink", "/etc/passwd")]),
    ("ln -s /usr/share .vscode", [(".vscode", "symlink", "/usr/share")]),
    # Deeper down: found by what was opened, and compared with what was there before.
    ("mkdir -p deep/er; git init -q deep/er; git -C deep/er config core.sshCommand x",
     [("deep/er/.git/config", "git-config", "core.sshcommand")]),
    ("mkdir -p deep; echo x > deep/.envrc", [("deep/.envrc", "shell", "")]),
    ("echo '{\"scripts\": {\"test\": \"a\", \"postinstall\": \"b\"}}' > package.json",
     [("package.json", "node", "scripts.postinstall")]),
]  # fmt: skip


@pytest.mark.parametrize(("script", "expected"), LEAVES, ids=[row[0][:40] for row in LEAVES])
def test_what_runs_by_itself_later_is_listed(stage: Stage, script: str, expected: list[tuple[str, str, str]]) -> None:
    assert left(stage, script) == [(f"workspace/{path}", kind, "added", detail) for path, kind, detail in expected]


def test_what_was_there_before_is_listed_only_when_it_changed(stage: Stage) -> None:
    outside(
        stage,
        f"""{GIT} init -q .; git config core.pager less; printf '#!/bin/sh\\n' > .git/hooks/pre-commit
            chmod +x .git/hooks/pre-commit; echo one > .envrc; ln -s /etc/hosts hosts; echo '{{}}' > .mcp.json
            mkdir sub; echo one > sub/.envrc; echo one > sub/conftest.py""",
    )
    script = """git config core.pager 'sh -c x'; touch .git/hooks/pre-commit; echo one > .envrc; rm .mcp.json
                echo two > sub/.envrc; echo one > sub/conftest.py; ln -sfn /etc/passwd hosts"""
    assert left(stage, script) == [
        ("workspace/.git/config", "git-config", "changed", "core.pager"),
        ("workspace/hosts", "symlink", "changed", "/etc/passwd"),
        ("workspace/sub/.envrc", "shell", "changed", ""),
    ]


def test_a_granted_file_of_the_home_is_looked_at(stage: Stage, tmp_path: Path) -> None:
    home = stage.root / "home"
    home.mkdir(exist_ok=True)
    (home / ".bashrc").write_text("# mine\n")
    scope = tmp_path / "shell.yaml"
    scope.write_text("remit: 1\ntask: a\nfiles: {write: [., $TMPDIR, ~/.bashrc]}\n")
    script = f"echo 'sh -c x' >> {home}/.bashrc"
    assert left(stage, script, "--scope", str(scope)) == [("home/.bashrc", "shell", "changed", "")]


@pytest.mark.parametrize(
    "script",
    [
        "echo work > file; mkdir src; echo code > src/a.py; ln -s file link",
        f"{GIT} init -q .; echo a > a; git add a; {GIT} commit -qm a; git branch b; git checkout -q b",
        f"{GIT} clone -q ../origin copy; cd copy; echo b > b; git add b; {GIT} commit -qm b; git config user.name me",
        'printf \'{"scripts": {"test": "a", "build": "b"}}\' > package.json; printf "all:\\n" > Makefile',
        "echo x > .envrc; rm .envrc; ln -s /etc/passwd l; rm l",
        'mkdir -p node_modules/a; echo \'{"scripts": {"postinstall": "x"}}\' > node_modules/a/package.json',
    ],
)
def test_ordinary_work_leaves_nothing(stage: Stage, script: str) -> None:
    if "clone" in script:
        script = script.replace("../origin", "origin")
        outside(stage, f"{GIT} init -q origin; cd origin; echo a > a; git add a; {GIT} commit -qm a")
    assert left(stage, script) == []
    assert "LEFT BEHIND" not in render_text(build_report(stage.evidence()))
    assert objections(stage.evidence()) == []


def test_more_places_than_are_looked_at_are_counted(stage: Stage) -> None:
    script = f"i=0; while [ $i -lt {MOST_TREES + 9} ]; do mkdir d$i; : > d$i/.envrc; i=$((i + 1)); done"
    assert len(left(stage, script)) == MOST_TREES - 1  # and the workspace
    report = build_report(stage.evidence())
    assert report["left_behind_not_looked_at"] == 10
    assert "where nobody looked" in render_text(report)


def test_what_is_made_unreadable_is_not_hidden(stage: Stage) -> None:
    script = "echo x > .envrc; chmod 0 .envrc"
    assert left(stage, script) == [("workspace/.envrc", "shell", "added", "unreadable")]


def test_the_text_report_says_what_was_left(stage: Stage) -> None:
    left(stage, "echo x > '.envrc'; ln -s \"$(printf '/\\033[31m')\" 'out'")
    text = render_text(build_report(stage.evidence()))
    assert f"added    shell       {stage.workspace}/.envrc\n" in text
    assert "added    symlink     " in text
    assert "\x1b" not in text
