"""Real work, small enough to repeat: each workload is one command that leaves its directory as it found it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

SOURCES = 12
MODULES = ("json", "http.client", "sqlite3", "xml.dom.minidom")


def prepare(place: Path) -> dict[str, list[str]]:
    """Lay out what the workloads need in `place`, which is where they run; name -> command."""
    _c_sources(place / "c")
    _wheel(place / "bench_wheel-1.0-py3-none-any.whl")
    _repository(place / "repository")
    _tests(place / "suite")
    python = sys.executable
    pip = f"{python} -m pip install --quiet --disable-pip-version-check --no-index --no-cache-dir --target=target"
    imports = "; ".join(f"{python} -c 'import {module}'" for module in MODULES * 2)
    return {
        "C build": ["make", "-s", "-C", "c", "clean", "program"],
        "pip install": ["sh", "-c", f"rm -rf target && {pip} bench_wheel-1.0-py3-none-any.whl"],
        "pytest": [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "suite"],
        "python imports": ["sh", "-c", imports],
        "git clone": ["sh", "-c", "rm -rf copy && git clone -q repository copy && git -C copy log --stat | wc -l"],
        "shell loop": [
            "sh",
            "-c",
            "i=0; while [ $i -lt 60 ]; do /bin/true; /bin/ls; /bin/cat /etc/hostname; i=$((i+1)); done",
        ],
        "find": ["find", "/usr/lib", "-name", "x"],
    }


def _c_sources(place: Path) -> None:
    place.mkdir()
    body = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n"
    for number in range(SOURCES):
        functions = "\n".join(
            f'int f{number}_{n}(int x) {{ char b[64]; snprintf(b, sizeof b, "%d", x); return atoi(b) + {n}; }}'
            for n in range(40)
        )
        (place / f"part{number}.c").write_text(body + functions + "\n")
    (place / "main.c").write_text("int main(void) { return 0; }\n")
    objects = " ".join(f"part{n}.o" for n in range(SOURCES)) + " main.o"
    rules = f"CFLAGS = -O1\nprogram: {objects}\n\t$(CC) -o $@ {objects}\nclean:\n\trm -f *.o program\n"
    (place / "Makefile").write_text(rules)


def _wheel(path: Path) -> None:
    info = "bench_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for number in range(150):
            wheel.writestr(f"bench_wheel/module{number}.py", f"VALUE = {number}\n" * 40)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: bench-wheel\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*wheel.namelist(), f"{info}/RECORD"]))


def _repository(place: Path) -> None:
    place.mkdir()
    for number in range(300):
        directory = place / f"directory{number % 20}"
        directory.mkdir(exist_ok=True)
        (directory / f"file{number}.txt").write_text(f"line {number}\n" * 50)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "all of it"]):
        subprocess.run(["git", *words], cwd=place, check=True)


def _tests(place: Path) -> None:
    place.mkdir()
    for number in range(10):
        test = f"""\
            import json
            import pytest

            @pytest.mark.parametrize("n", range(30))
            def test_{number}(n, tmp_path):
                (tmp_path / "file").write_text(json.dumps([n] * 100))
                assert json.loads((tmp_path / "file").read_text())[0] == n
            """
        (place / f"test_{number}.py").write_text(textwrap.dedent(test))
