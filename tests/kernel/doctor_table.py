"""Compares what the doctor says here with the table that is checked in for this kernel; a program as well as a module.

    .venv/bin/python tests/kernel/doctor_table.py     with the table of this kernel, such as doctor/linux-6.1.json

The table of a kernel is exact, skipped attempts and all: `scripts/test-vm` boots the same machine everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "doctor"


def rows(said: dict[str, Any]) -> dict[str, str]:
    """Each attempt as a table has it: `held`, `open (the gap that covers it)`, `skipped (why)`."""
    return {attempt["name"]: _row(attempt) for attempt in said["attempts"]}


def _row(attempt: dict[str, Any]) -> str:
    why = attempt["reason"] if attempt["result"] == "skipped" else attempt["gap"]
    return f"{attempt['result']} ({why})" if why else str(attempt["result"])


def read_table(name: str) -> dict[str, str]:
    table: dict[str, str] = json.loads((TABLES / f"{name}.json").read_text())
    return table


def differences(found: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    """One line for each attempt that came out otherwise; a wall that newly holds is to be noted too."""
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            yield f"{name}: {found.get(name, 'not made')}, expected {expected.get(name, 'nothing: not in the table')}"


def main() -> int:
    release = ".".join(os.uname().release.split(".")[:2])
    table = TABLES / f"linux-{release}.json"
    if not table.exists():
        print(f"doctor_table: no table is checked in for this kernel: {table.name}", file=sys.stderr)
        return 2
    program = os.path.join(os.path.dirname(sys.executable), "remit")
    done = subprocess.run([program, "doctor", "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        return done.returncode
    said = json.loads(done.stdout)
    found = rows(said)
    for attempt in said["attempts"]:
        if attempt["result"] != "held":
            print(f"{attempt['name']}: {found[attempt['name']]}: {attempt['reason']}")
    results = [attempt["result"] for attempt in said["attempts"]]
    print(f"{len(results)} attempts: " + ", ".join(f"{results.count(r)} {r}" for r in ("held", "open", "skipped")))
    different = list(differences(found, read_table(table.stem)))
    print("\n".join(different) if different else f"as {table.name} says")
    return 1 if different else done.returncode


if __name__ == "__main__":
    sys.exit(main())
