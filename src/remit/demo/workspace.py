"""Where a demo takes place: a workspace with a small task, and beside it what the agent must not write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from remit.demo import DemoError
from remit.demo.script import FIXED_MODULE, WORKSPACE_FILES


@contextmanager
def a_place(keep: Path | None) -> Iterator[Place]:
    """A temporary place that is removed at the end, or one in `keep` that stays."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="remit-demo-") as directory:
            yield _furnish(Path(directory).resolve(), kept=False)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise DemoError(f"the directory to keep the demo in is not empty: {keep}", hint="name a new directory")
    except OSError as problem:
        raise DemoError(f"cannot keep the demo in {keep}: {problem.strerror}") from problem
    yield _furnish(keep.resolve(), kept=True)


def _furnish(root: Path, *, kept: bool) -> Place:
    place = Place(root, kept)
    for directory in (place.workspace, place.home):
        directory.mkdir()
    for name, text in WORKSPACE_FILES.items():
        (place.workspace / name).write_text(text, encoding="utf-8")
    return place


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one demo."""

    root: Path
    kept: bool

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        """An empty home directory for the unguarded agent, so that it finds nobody's keys."""
        return self.root / "home"

    @property
    def evidence(self) -> Path | None:
        """Where evidence goes: beside the workspace if the demo is kept, else (None) the default directories."""
        return self.root / "evidence" if self.kept else None

    def result_is_there(self) -> bool:
        """Whether the honest work is done: the module is fixed and the note is written."""
        module, note = self.workspace / "durations.py", self.workspace / "RESULT.md"
        return module.is_file() and module.read_text(encoding="utf-8") == FIXED_MODULE and note.is_file()
