"""Ordinary work is untouched: the same output and exit status as without remit, and no denial and no finding."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from stage import REMIT, Stage, differences, is_sound, nobody_left, objections, records, without

MAKEFILE = """\
CFLAGS = -O1 -Wall
program: main.o part_1.o part_2.o part_3.o part_4.o
\t$(CC) -o $@ $^
%.o: %.c parts.h
\t$(CC) $(CFLAGS) -c -o $@ $<
clean:
\trm -f *.o program
"""
GIT = """\
set -e
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git init --initial-branch=main one
cd one; echo hello > file; git add file; git commit -m first; echo more >> file; git commit -am second
git checkout -b side; git log --stat | cat; git diff HEAD~1 | cat; cd ..
git clone one two 2>&1
git -C two log --oneline --all; git -C two status; git -C two fetch; git -C two fsck; git -C two gc --quiet
"""
PASSING_TESTS = """\
import multiprocessing, subprocess, sys, tempfile, threading

def test_arithmetic():
    assert 1 + 1 == 2

def test_child():
    assert subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True).stdout == "7\\n"

def test_temporary_files(tmp_path):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    (tmp_path / "a").write_text("b")

def test_pool():
    with multiprocessing.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]

def test_threads():
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert sorted(seen) == list(range(8))
"""
NODE = """\
const {execFileSync, spawn} = require("child_process"); const fs = require("fs");
const {Worker} = require("worker_threads");
fs.writeFileSync("made.txt", "by node"); console.log(execFileSync("cat", ["made.txt"]).toString(), fs.readdirSync("."));
new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", {eval: true}).on("message", (n) => {
  console.log("worker", n);
  spawn("sh", ["-c", "echo from a child; exit 3"], {stdio: "inherit"}).on("exit", (code) => process.exit(code));
});
"""


def both(stage: Stage, command: list[str], **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command does without remit and inside it, from the same starting point."""
    kept = stage.root / "kept"
    shutil.copytree(stage.workspace, kept, symlinks=True)
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    bare = subprocess.run(
        command, cwd=stage.workspace, env=stage.environment, capture_output=True, timeout=60, **options
    )
    shutil.rmtree(stage.workspace)
    shutil.copytree(kept, stage.workspace, symlinks=True)
    guarded = stage.remit("run", "--", *command, **options, text=False)
    status = bare.returncode if bare.returncode >= 0 else 128 - bare.returncode
    return (
        {"stdout": bare.stdout, "stderr": bare.stderr, "status": status},
        {"stdout": guarded.stdout, "stderr": guarded.stderr, "status": guarded.returncode},
    )


def is_untouched(stage: Stage, command: list[str], **options: Any) -> dict[str, Any]:
    """The command meets nothing of remit; returns what it did."""
    bare, guarded = both(stage, command, **options)
    assert differences(bare, guarded) == {}
    assert objections(stage.evidence()) == []
    is_sound(stage.evidence())
    nobody_left(stage.evidence())
    return guarded


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(textwrap.dedent(text))


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("make")), reason="needs gcc and make")
def test_a_build_with_make_and_gcc(stage: Stage) -> None:
    for number in range(1, 5):
        write(stage.workspace, **{f"part_{number}__c": f"int part_{number}(void) {{ return {number}; }}\n"})
    declarations = "".join(f"int part_{number}(void);\n" for number in range(1, 5))
    main = (
        '#include <stdio.h>\n#include "parts.h"\nint main(void) '
        '{ int unused; printf("%d\\n", part_1() + part_2() + part_3() + part_4()); return 0; }\n'
    )
    write(stage.workspace, parts__h=declarations, main__c=main, Makefile=MAKEFILE)
    done = is_untouched(
        stage, ["bash", "-c", "make -j4 > log; status=$?; sort log; ./program && make clean && ls; exit $status"]
    )
    assert done["status"] == 0
    assert b"\n10\n" in done["stdout"]
    assert b"unused" in done["stderr"]  # the compiler's warning


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_from_init_to_a_local_clone(stage: Stage) -> None:
    done = is_untouched(stage, ["bash", "-c", GIT])
    assert done["status"] == 0, done["stderr"]
    assert b"second" in done["stdout"]


def test_pip_installs_a_local_wheel_into_the_workspace(stage: Stage) -> None:
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if pip.returncode:
        pytest.skip("needs pip in the test's environment")
    _make_wheel(stage.workspace / "tiny-1.0-py3-none-any.whl")
    install = f"{sys.executable} -m pip install --no-index --no-cache-dir --no-warn-conflicts --target site"
    use = f"PYTHONPATH=site {sys.executable} -c 'import tiny; tiny.speak()' && PYTHONPATH=site site/bin/tiny-speak"
    command = f"{install} ./tiny-1.0-py3-none-any.whl && {use} && ls site"
    # pip asks the net for its own newest version unless told not to, and remit's preset tells it not to. Its check for
    # conflicts reads every editable install of the environment, such as remit's own, which no scope here grants.
    done = is_untouched(stage, ["bash", "-c", f"export PIP_DISABLE_PIP_VERSION_CHECK=1; {command}"])
    assert done["status"] == 0, done["stderr"]
    assert done["stdout"].count(b"tiny speaks") == 2


def test_pytest_with_children_threads_and_a_pool(stage: Stage) -> None:
    write(stage.workspace, test_some__py=PASSING_TESTS, test_other__py="def test_wrong():\n    assert 1 == 2\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--basetemp=base"]
    bare, guarded = both(stage, command)
    for outcome in (bare, guarded):
        outcome["stdout"] = without(outcome["stdout"].decode(), r"in \d+\.\d+s", r"=+\n")
    assert differences(bare, guarded) == {}
    assert guarded["status"] == 1
    assert "5 passed" in guarded["stdout"]
    assert objections(stage.evidence()) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_node_with_a_worker_and_children(stage: Stage) -> None:
    write(stage.workspace, script__js=NODE)
    done = is_untouched(stage, ["node", "script.js"])
    assert done["status"] == 3
    assert b"worker 42" in done["stdout"]


SHELL = {
    "pipes": "seq 1 20000 | sort -rn | awk '{s += $1} END {print s}'; printf 'a\\nb\\n' | tee copy | wc -l; cat < copy",
    "a pipe whose reader leaves": "yes | head -n 3; echo ${PIPESTATUS[0]}",
    "process substitution and here documents": "diff <(echo 1) <(echo 2); cat <<< word; cat <<-E\n\tindented\n\tE",
    "background jobs and wait": "for n in 1 2 3 4; do (exit $n) & done; wait; sleep 0.05 & wait $!; echo done $?",
    "standard error and order": "echo out; echo err >&2; echo out 2>&1; ls /nonexistent; exit 4",
    "trap": "trap 'echo caught' USR1; kill -USR1 $$; trap 'echo bye' EXIT; exit 9",
    "limits and directory": 'pwd; cd /usr; pwd; ulimit -s; umask; id -u; test -w "$TMPDIR" || test -z "$TMPDIR"',
    "process groups and timeouts": "timeout 0.1 sleep 10; echo $?; setsid true; nohup true; echo $?",
    "files": "mkdir -p a/b && touch a/b/c && mv a/b/c a/d && ln -s d a/l && ln a/d a/h && rm -r a/b && find a | sort",
    "modes and times": "touch -d 2020-01-01 file && chmod 640 file && stat -c '%a %Y' file",
    "python": 'python3 -c \'import os, subprocess; print(subprocess.check_output(["echo", "x"])); os._exit(5)\'',
    "temporary files": "f=$(mktemp) && echo t > $f && cat $f && rm $f; find . | sort",
    "devices": "echo x > /dev/null; head -c 4 /dev/zero | od; test -c /dev/urandom && head -c 1 /dev/urandom | wc -c",
}


@pytest.mark.parametrize("name", SHELL)
def test_what_shells_do(name: str, stage: Stage) -> None:
    is_untouched(stage, ["bash", "-c", SHELL[name]])


@pytest.mark.parametrize("status", [0, 1, 2, 42, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 130, 200, 255])
def test_exit_statuses(status: int, stage: Stage) -> None:
    assert is_untouched(stage, ["sh", "-c", f"exit {status}"])["status"] == status


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "TERM", "USR1", "XCPU"])
def test_death_by_signal(name: str, stage: Stage) -> None:
    program = f"from signal import *; import os; signal(SIG{name}, SIG_DFL); os.kill(os.getpid(), SIG{name})"
    # SIGKILL has no disposition to set.
    program = program.replace("signal(SIGKILL, SIG_DFL); ", "")
    done = is_untouched(stage, [sys.executable, "-c", program])
    assert done["status"] > 128


def test_not_found_and_not_executable(stage: Stage) -> None:
    missing = stage.remit("run", "--", "no-such-program-anywhere")
    assert missing.returncode == 127
    assert "no-such-program-anywhere" in missing.stderr
    write(stage.workspace, data="text\n")
    closed = stage.remit("run", "--", "./data")
    assert closed.returncode == 126
    assert "./data" in closed.stderr
    for directory in stage.sessions.iterdir():
        assert objections(directory) == []
        is_sound(directory)


@pytest.mark.parametrize("sight", ["normal", "full"])
def test_a_program_that_the_kernel_cannot_run(stage: Stage, sight: str) -> None:
    write(stage.workspace, missing="#! /no/such\t-u\n", plain='echo "$0 $1"; exit 5\n', empty="")
    no_interpreter = "remit: cannot run ./missing: its interpreter is not there\n"
    outcomes = {
        "missing": (127, "", f"{no_interpreter}hint: ./missing begins with #!, and there is no /no/such\n"),
        "plain": (5, "./plain a\n", ""),
        "empty": (0, "", ""),
    }
    for name, outcome in outcomes.items():
        (stage.workspace / name).chmod(0o755)
        evidence = stage.root / f"evidence-{name}"
        done = stage.remit("run", "--sight", sight, "--evidence", evidence, "--", f"./{name}", "a")
        assert (done.returncode, done.stdout, done.stderr) == outcome
        ran = [record["arguments"] for record in records(evidence, "exec")]
        assert ran[0] == [f"./{name}", "a"]
        if name == "plain":
            assert ran[-1] == ["/bin/sh", "./plain", "a"]
        assert objections(evidence) == []
        is_sound(evidence)


@pytest.mark.parametrize("options", [[], ["--observe"]])
def test_a_session_inside_a_session_is_told_that_there_is_none(stage: Stage, options: list[str]) -> None:
    done = stage.remit("run", *options, "--", *REMIT, "run", "--", "true")
    assert done.returncode == 123
    first, hint = done.stderr.splitlines()
    assert first.startswith("remit: remit does not run inside a session of its own: ")
    assert hint == "hint: run it outside of remit run"


def test_much_output(stage: Stage) -> None:
    program = "import os; os.write(2, b'e' * 100000); [os.write(1, bytes([n % 251]) * 65536) for n in range(800)]"
    bare, guarded = both(stage, [sys.executable, "-c", program])
    assert len(guarded["stdout"]) == 800 * 65536
    assert hashlib.sha256(bare["stdout"]).digest() == hashlib.sha256(guarded["stdout"]).digest()
    assert bare["stderr"] == guarded["stderr"]
    assert objections(stage.evidence()) == []


def test_standard_input_passes_through(stage: Stage) -> None:
    given = bytes(range(256)) * 40000
    done = is_untouched(stage, ["bash", "-c", "head -c 5 | od; cat | sha256sum"], input=given)
    assert done["status"] == 0


def test_a_reader_at_the_far_end_is_not_kept_waiting(stage: Stage) -> None:
    """What the command left running ends with the session, and with it the last writer of its output."""
    done = stage.remit("run", "--", "sh", "-c", "echo said; sleep 1000 & exit 6", timeout=20)
    assert (done.returncode, done.stdout) == (6, "said\n")
    nobody_left(stage.evidence())


def _make_wheel(path: Path) -> None:
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "def speak():\n    print('tiny speaks')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny-speak = tiny:speak\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
