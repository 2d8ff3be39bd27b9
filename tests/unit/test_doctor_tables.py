"""The doctor's expected tables name exactly the attempts that exist, and nothing in them is open without a gap."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from remit.attempts.catalogue import BY_NAME
from remit.kernel.libc import MACHINE
from remit.scope.gaps import WALL_NAMES

TABLES = sorted((Path(__file__).parents[1] / "kernel/doctor").glob("*.json"))


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert {table.stem for table in TABLES} >= {"user", "root", "linux-6.1"}


@pytest.mark.skipif(MACHINE != "x86_64", reason="the tables are of x86-64, which has more system calls")
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_it_names_every_attempt_and_no_other(table: Path) -> None:
    assert set(json.loads(table.read_text())) == set(BY_NAME)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.stem)
def test_what_is_open_in_it_is_covered_by_a_gap_of_that_attempt(table: Path) -> None:
    for name, row in json.loads(table.read_text()).items():
        found = re.fullmatch(r"held|open \((.+)\)|skipped \(.+\)", row)
        assert found, f"{name}: {row}"
        if found[1]:
            assert found[1] in BY_NAME[name].gaps
            assert found[1] in WALL_NAMES
