"""Looks for a secret in every place that a program of the agent's can read; what it finds is listed in `found`.

The secret is given in two pieces, so that its own arguments do not hold it.
"""

from __future__ import annotations

import os
import re
import sys

secret = "".join(sys.argv[1:3]).encode()
found = []


def look(name: str, data: bytes) -> None:
    if secret in data:
        found.append(name)


look("environment", repr(os.environ).encode())
for pid in filter(str.isdecimal, os.listdir("/proc")):
    for name in ("environ", "cmdline"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                look(f"/proc/{pid}/{name}", file.read())
        except OSError:
            continue
    if int(pid) == os.getpid():
        continue  # the pieces are joined here
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r", maps.read(), re.MULTILINE):
                try:
                    memory.seek(int(start, 16))
                    look(f"/proc/{pid}/mem", memory.read(int(end, 16) - int(start, 16)))
                except (OSError, OverflowError, ValueError):
                    continue
    except OSError:
        continue
for top in (".", os.environ["HOME"], os.environ["TMPDIR"], "/tmp"):
    for folder, _, files in os.walk(top):
        for name in files:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    look(os.path.join(folder, name), file.read(1 << 20))
            except OSError:
                continue
with open("found", "w") as file:
    file.write("\n".join(found))
