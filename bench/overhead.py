"""What a command costs under remit and under its peers, beside the same command bare. Prints one table for each part.

All of a row's ways run in every round, in random order, so that a slow moment hits them alike. Start-up is what `true`
costs, and is subtracted from the other rows: they show the running cost alone.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from questions import CALLS
from runners import REMIT, Runner, runners
from workloads import prepare

QUESTIONS = Path(__file__).with_name("questions.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="rounds of each row (default: 15)")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows whose name contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remit-bench-", dir=Path.home()) as directory:
        place = Path(directory)
        os.chdir(place)
        shutil.copy(QUESTIONS, place)  # beneath the walls, only what lies in the workspace can be read
        # The interpreter's own directory first: its environment is then part of the default scope.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ways, missing = runners(place)
        workloads = prepare(place)
        start_up = _measure(["true"], ways, options.runs * 2)
        bare = statistics.median(start_up["bare"])
        _heading("start-up", ways)
        added = {name: [t - b for t, b in zip(start_up[name], start_up["bare"], strict=True)] for name in start_up}
        _row("true, ms added", [_spread(added[name]) for name in ways])
        _heading("\nwork, start-up subtracted, ratio to bare", ways)
        for name, command in workloads.items():
            if options.only in name:
                times = _measure(command, ways, options.runs)
                _row(name, _ratios(times, {way: statistics.median(start_up[way]) - bare for way in ways}))
        _heading("\none call, median and 99th percentile in us", ways)
        for name in CALLS:
            if options.only in name:
                _row(name, [_latency(name, ways[way]) for way in ways])
        print(f"\nmemory of remit's own processes while a command runs: {_memory()}")
        print(f"{options.runs} rounds in random order; median [first quartile, third quartile]")
        for name, hint in missing.items():
            print(f"not measured: {name}; hint: {hint}")
    return 0


def _measure(command: list[str], ways: dict[str, Runner], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way in each round; a way that fails the command is an error of the bench."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for name in ways:
        _run(ways[name](command))  # compiles plans, fills caches
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            begin = time.perf_counter()
            _run(ways[name](command))
            times[name].append((time.perf_counter() - begin) * 1000)
    return times


def _run(words: list[str]) -> bytes:
    done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: failed with {done.returncode}: {words}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout


def _ratios(times: dict[str, list[float]], start_up: dict[str, float]) -> list[str]:
    base = statistics.median(times["bare"])
    cells = [_spread(times["bare"]) + " ms"]
    for name in list(times)[1:]:
        cells.append(_spread([(t - start_up[name]) / base for t in times[name]], ".2f"))
    return cells


def _latency(name: str, way: Runner) -> str:
    nanoseconds = sorted(int(line) for line in _run(way([sys.executable, "-I", QUESTIONS.name, name])).split())
    return f"{nanoseconds[len(nanoseconds) // 2] / 1000:.1f} / {nanoseconds[len(nanoseconds) * 99 // 100] / 1000:.1f}"


def _memory() -> str:
    """Proportional resident memory by process name, in MB: what is shared with another process is counted once."""
    with subprocess.Popen([REMIT, "run", "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(b"ready\n")
        session.stdin.flush()
        session.stdout.readline()
        found = []
        for name, pid in _own(session.pid):
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                size = int(re.search(r"Pss: +(\d+)", text)[1])  # type: ignore[index]
                found.append(f"{name} {size / 1024:.1f}")
            except PermissionError:
                rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                found.append(f"{name} {rss / 1e6:.1f} (resident)")
    return ", ".join(found) + " MB"


def _own(launcher: int) -> list[tuple[str, int]]:
    found = []
    waiting = [launcher]
    while waiting:
        pid = waiting.pop()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if pid == launcher or name.startswith("remit-"):
            found.append(("launcher" if pid == launcher else name, pid))
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def _spread(values: list[float], form: str = ".1f") -> str:
    first, median, third = statistics.quantiles(values, n=4)
    return f"{median:{form}} [{first:{form}}, {third:{form}}]"


def _heading(title: str, ways: dict[str, Runner]) -> None:
    print(f"{title}\n{'':<17}" + "".join(f"{name:>23}" for name in ways), flush=True)


def _row(name: str, cells: list[str]) -> None:
    print(f"{name:<17}" + "".join(f"{cell:>23}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
