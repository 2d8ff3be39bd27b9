"""`--report` writes where the caller said before the agent started, whatever the agent has put there meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from stage import Stage

PRECIOUS = "the victim's own words\n"


@pytest.fixture
def victim(stage: Stage) -> Path:
    path = stage.root / "home" / "victim"
    path.write_text(PRECIOUS)
    return path


def is_report(path: Path) -> bool:
    return not path.is_symlink() and json.loads(path.read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    "plant", ["ln -sf {victim} r.json", "ln -f {victim} r.json || true", "mkfifo r.json", "echo mine > r.json"]
)
def test_what_the_agent_puts_there_is_replaced_and_not_opened(stage: Stage, victim: Path, plant: str) -> None:
    report = stage.workspace / "r.json"
    done = stage.remit("run", "--report", report, "--", "sh", "-c", plant.format(victim=victim) + "; exit 7")
    assert done.returncode == 7, done.stderr
    assert is_report(report)
    assert victim.read_text() == PRECIOUS
    assert os.listdir(stage.workspace) == ["r.json"]


def test_what_was_there_before_is_replaced_as_the_help_says(stage: Stage) -> None:
    report = stage.workspace / "r.json"
    report.write_text("an older report\n")
    assert stage.remit("run", "--report", report, "--", "true").returncode == 0
    assert is_report(report)
    assert "replaces a file of that name" in " ".join(stage.remit("run", "--help").stdout.split())


@pytest.mark.parametrize("plant", ["mv out elsewhere; ln -s {home} out", "rm -r out; ln -s {home} out"])
def test_a_directory_on_the_way_that_becomes_a_link_leads_nowhere(stage: Stage, victim: Path, plant: str) -> None:
    (stage.workspace / "out").mkdir()
    done = stage.remit("run", "--report", "out/victim", "--", "sh", "-c", plant.format(home=victim.parent) + "; exit 7")
    assert done.returncode == 7
    assert victim.read_text() == PRECIOUS
    if "mv" in plant:
        assert is_report(stage.workspace / "elsewhere" / "victim")
    else:
        assert "cannot write the report out/victim: No such file or directory" in done.stderr


def test_a_directory_in_its_place_costs_the_report_and_not_the_status(stage: Stage) -> None:
    done = stage.remit("run", "--report", "r.json", "--", "sh", "-c", "mkdir r.json; exit 7")
    assert done.returncode == 7
    assert done.stderr.startswith("remit: cannot write the report r.json: Is a directory\nhint: remit report 2")
    assert os.listdir(stage.workspace) == ["r.json"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/r.json", "No such file or directory"),
        ("/proc/r.json", "cannot write the report into /proc"),
        ("link", "a file of its own"),
        ("fifo", "a file of its own"),
        ("/dev/stdout", "remit: "),
        (".", "remit: "),
        ("away/r.json", "leads the report out of the workspace"),
    ],
)
def test_a_place_that_is_none_is_refused_before_the_start(stage: Stage, victim: Path, name: str, said: str) -> None:
    (stage.workspace / "link").symlink_to(victim)
    (stage.workspace / "away").symlink_to(victim.parent)
    os.mkfifo(stage.workspace / "fifo")
    done = stage.remit("run", "--report", name, "--", "touch", "started")
    assert done.returncode == 2
    assert said in done.stderr
    assert "\nhint: " in done.stderr
    assert not (stage.workspace / "started").exists()
    assert victim.read_text() == PRECIOUS
    assert not stage.sessions.exists()
