"""Whatever a real shell starts for a text, the text names it to us, or is said to run anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from remit.attribution.shells import Asked
from remit.clock.declared import declared
from remit.events import Declared

# Ways to have bash start `victim` that its grammar does not show, and plain ones.
TEXTS: list[str] = json.loads(Path(__file__).with_name("shell_texts.json").read_text())
# One write for each, for two of them may run at once.
VICTIM = """#!/bin/sh
line=$(for word in "$@"; do printf '%s\\037' "$word"; done; printf '\\036.')
printf '%s' "${line%.}" >> "$LOG"
"""


def started(text: str, place: Path) -> list[tuple[str, ...]]:
    """The arguments of each `victim` that bash starts when it is told this."""
    log = place / "log"
    log.write_bytes(b"")
    environment = {"PATH": f"{place}:/usr/bin:/bin", "HOME": str(place), "LOG": str(log)}
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 20, "check": False}
    subprocess.run(["bash", "--norc"], input=text.encode(errors="replace"), env=environment, cwd=place, **options)
    programs = log.read_bytes().split(b"\036")[:-1]
    return [tuple(word.decode(errors="surrogateescape") for word in line.split(b"\037")[:-1]) for line in programs]


def test_nothing_runs_that_a_text_does_not_name(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text(VICTIM)
    victim.chmod(0o755)
    hidden, ran = {}, 0
    for text in TEXTS:
        found = declared({"command": text})
        words = tuple(map(tuple, found.get("programs", ())))
        asked = Asked()
        asked.add("step", 0, Declared(words, tuple(found.get("again", ())), anything=bool(found.get("anything"))))
        programs = started(text, tmp_path)
        ran += bool(programs)
        unnamed = [arguments for arguments in programs if not asked.possible(0, ("victim", *arguments))]
        if unnamed:
            hidden[text] = unnamed
    assert hidden == {}
    assert ran > 0.9 * len(TEXTS)
