"""What a command costs under remit, beside the same command bare: paired runs in random order, median and spread.

Start-up is measured with `true`, then subtracted from the other rows, so that they show the running cost alone.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REMIT = str(Path(sys.executable).with_name("remit"))
C_PROGRAM = "int main(void) { return 0; }\n"
WORKLOADS = {
    "true": ["true"],
    "shell loop": ["sh", "-c", "i=0; while [ $i -lt 60 ]; do /bin/true; /bin/ls >/dev/null; i=$((i+1)); done"],
    "python imports": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do python3 -c 'import json, http.client'; done"],
    "C build": ["sh", "-c", "for i in 1 2 3 4 5 6; do gcc -O1 -o a$i a.c || exit 1; done"],
    "find": ["find", "/usr/lib", "-name", "x"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="paired runs of each row (default: 20)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a.c").write_text(C_PROGRAM)
        os.chdir(directory)
        subprocess.run([REMIT, "run", "--", "true"], check=True)  # compiles the plan once
        print(f"{'':<16}{'bare ms':>18}{'remit ms':>20}{'added ms':>20}{'ratio*':>8}")
        start_up = 0.0
        for name, command in WORKLOADS.items():
            bare, guarded = _measure(command, runs)
            added = [g - b for b, g in zip(bare, guarded, strict=True)]
            if name == "true":
                start_up = statistics.median(added)
                ratio = ""
            else:
                ratio = f"{(statistics.median(guarded) - start_up) / statistics.median(bare):.2f}"
            print(f"{name:<16}{_spread(bare):>18}{_spread(guarded):>20}{_spread(added):>20}{ratio:>8}")
    print(f"median [first quartile, third quartile] of {runs} paired runs; * start-up subtracted")
    return 0


def _measure(command: list[str], runs: int) -> tuple[list[float], list[float]]:
    bare, guarded = [], []
    for _ in range(runs):
        pair = [(bare, command), (guarded, [REMIT, "run", "--", *command])]
        random.shuffle(pair)
        for results, words in pair:
            begin = time.perf_counter()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            results.append((time.perf_counter() - begin) * 1000)
    return bare, guarded


def _spread(values: list[float]) -> str:
    first, median, third = statistics.quantiles(values, n=4)
    return f"{median:.1f} [{first:.1f}, {third:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
