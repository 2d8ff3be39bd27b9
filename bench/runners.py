"""Ways to run a command: bare, under remit, and under the peers that are installed here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

Runner = Callable[[list[str]], list[str]]
HERE = Path(__file__).parent
REMIT = str(Path(sys.executable).with_name("remit"))


def runners(place: Path) -> tuple[dict[str, Runner], dict[str, str]]:
    """The runners by name, `bare` first, and why each of the others is missing."""
    found: dict[str, Runner] = {"bare": lambda command: command}
    missing: dict[str, str] = {}
    found["remit"] = lambda command: [REMIT, "run", "--", *command]
    found["remit full"] = lambda command: [REMIT, "run", "--sight", "full", "--", *command]
    if shutil.which("bwrap"):
        walls = ["--ro-bind", "/", "/", "--bind", str(place), str(place), "--dev", "/dev", "--proc", "/proc"]
        walls += ["--tmpfs", "/tmp"] if not str(place).startswith("/tmp") else []
        found["bubblewrap"] = lambda command: ["bwrap", *walls, "--unshare-all", "--die-with-parent", *command]
    else:
        missing["bubblewrap"] = "apt install bubblewrap"
    if shutil.which("strace"):
        rare = "trace=execve,connect,bind,openat"
        found["strace"] = lambda command: ["strace", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", rare, *command]
    else:
        missing["strace"] = "apt install strace"
    if importlib.util.find_spec("sandlock"):
        found["sandlock"] = lambda command: [sys.executable, "-I", str(HERE / "run_sandlock.py"), str(place), *command]
    else:
        missing["sandlock"] = "pip install sandlock"
    return found, missing
