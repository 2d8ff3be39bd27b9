"""Only files that the scope lets run are run, and the record names the image that really ran."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import Inside, number

KILLED = {"errno": 0, "status": -9}
REFUSED = {"errno": errno.EACCES, "status": 99}
RAN = {"errno": 0, "status": 0}


@pytest.fixture
def true(outside: Path) -> Path:
    """A program outside that nothing lets run."""
    program = outside / "true"
    shutil.copy("/bin/true", program)
    return program


def loader() -> str:
    found = glob.glob("/lib*/ld-linux-x86-64.so.2") + glob.glob("/lib/ld-musl-*.so.1")
    if not found:
        pytest.skip("no dynamic loader was found")
    return found[0]


@pytest.mark.parametrize("act", ["run", "linked", "script"])
def test_a_program_that_no_grant_covers_does_not_run(inside: Inside, true: Path, act: str) -> None:
    attempt = inside.do("images.py", act, true)
    assert attempt.result == REFUSED
    if act != "script":  # the kernel refuses the interpreter; what was asked for was the script
        assert len(attempt.refusals("exec", image=str(true), clause="files.execute")) == 1


def test_nor_by_a_descriptor(inside: Inside, true: Path) -> None:
    attempt = inside.do("images.py", "by_descriptor", true, number("execveat"))
    assert attempt.result == REFUSED
    assert len(attempt.refusals("exec", image=str(true))) == 1


def test_a_refusal_is_recorded_though_the_process_exits_at_once(
    inside: Inside, true: Path, compile_program: Callable[[str], Path]
) -> None:
    """Its exit may be asked about before the stop that follows the failed exec."""
    program = inside.workspace / "exec_fails"
    shutil.copy(compile_program("exec_fails"), program)
    attempt = inside.run([str(program), str(true), "200"])
    assert len(attempt.refusals("exec", image=str(true), clause="files.execute")) == 200


@pytest.mark.parametrize("by", ["path", "execveat"])
def test_a_program_in_memory_is_killed_before_its_first_instruction(inside: Inside, by: str) -> None:
    attempt = inside.do("images.py", "in_memory", "/bin/true", by, number("execveat"))
    assert attempt.result == KILLED
    (record,) = attempt.refusals("exec")
    assert record["image"].startswith("/memfd:")
    assert record["confirmed"] is True


def test_the_loader_does_not_run_what_may_not_run(inside: Inside, true: Path) -> None:
    attempt = inside.do("images.py", "run", loader(), true)
    assert attempt.result == KILLED
    (record,) = attempt.refusals("exec")
    assert record["arguments"] == [loader(), str(true)]


def test_a_loader_that_is_named_as_a_library_is_one_too(inside: Inside) -> None:
    musl = next((path for path in glob.glob("/lib/ld-musl-*.so.1") if os.path.islink(path)), None)
    if musl is None:
        pytest.skip("there is no musl whose loader is its libc.so")
    assert inside.do("images.py", "run", musl, "--help").result == KILLED


def test_the_loader_does_not_even_run_what_may_run(inside: Inside) -> None:
    assert inside.do("images.py", "run", loader(), "/bin/true").result == KILLED


@pytest.mark.parametrize("name", ["by its path", "by the search path", "by a link"])
def test_the_loader_is_stopped_as_the_first_program_of_a_step_too(inside: Inside, name: str) -> None:
    """Its arguments are the model's. What it runs here says a word and asks nothing before that."""
    link = inside.workspace / "innocent"
    link.unlink(missing_ok=True)
    link.symlink_to(loader())
    program, path = {
        "by its path": (loader(), "/bin"),
        "by the search path": (os.path.basename(loader()), f"/nowhere:{os.path.dirname(loader())}"),
        "by a link": ("./innocent", "/bin"),
    }[name]
    with inside.session.step(f"loader {name}", tool="attack"):
        done = inside.session.run([program, "/bin/echo", "ran"], capture_output=True, text=True, env={"PATH": path})
    assert done.stdout == ""
    assert done.returncode == 126
    refused = [r for r in inside.records() if r["kind"] == "exec" and r["refused"]]
    assert refused[-1]["arguments"] == [program, "/bin/echo", "ran"]


def test_a_copy_of_the_loader_runs_for_an_execute_grant_alone_is_no_wall(inside: Inside) -> None:
    """Stated, not hidden: interpreters and copies remain, and what they load they must at least be able to read."""
    attempt = inside.do("images.py", "copied", loader(), "/bin/true")
    assert attempt.result == RAN
    assert [r["arguments"] for r in attempt.records if r["kind"] == "exec"][-1] == ["./copied", "/bin/true"]


def test_a_copy_of_the_loader_does_not_load_what_cannot_be_read(inside: Inside, true: Path) -> None:
    assert inside.do("images.py", "copied", loader(), true).result["status"] == 127


@pytest.mark.parametrize("act", ["run", "copied", "linked", "script", "removed", "undumpable_child"])
def test_a_program_that_may_run_runs_and_is_recorded(inside: Inside, act: str) -> None:
    attempt = inside.do("images.py", act, "/bin/true")
    assert attempt.result == RAN
    assert [r for r in attempt.records if r.get("refused")] == []
    record = [r for r in attempt.records if r["kind"] == "exec"][-1]
    assert record["confirmed"] is True
    assert record["inode"] != 0
    expected = {"copied": f"{inside.workspace}/copied", "removed": f"{inside.workspace}/short-lived (deleted)"}
    assert record["image"] == expected.get(act, os.path.realpath("/bin/true"))


def test_a_program_that_cannot_be_read_is_killed(inside: Inside) -> None:
    if os.getuid() == 0:
        pytest.skip("root without capabilities still owns what it copies; run as another user")
    attempt = inside.do("images.py", "unreadable", "/bin/true")
    assert attempt.result == KILLED
    assert len(attempt.refusals("exec")) == 1


def test_a_process_that_wants_to_be_unreadable_is_still_watched(inside: Inside, outside: Path) -> None:
    """PR_SET_DUMPABLE has no effect, so the next thing it does is seen as ever."""
    attempt = inside.do("images.py", "undumpable_child", "/bin/true")
    (record,) = [r for r in attempt.records if r["kind"] == "exec" and r["image"] == os.path.realpath("/bin/true")]
    assert record["confirmed"] is True


def test_a_set_user_id_program_gives_no_privilege(inside: Inside) -> None:
    program = shutil.which("su") or shutil.which("mount") or shutil.which("passwd")
    if program is None or not os.stat(program).st_mode & 0o4000:
        pytest.skip("no program with the set-user-id bit was found")
    command = ["sh", "-c", f"{program} --help >/dev/null 2>&1; grep -c . /proc/self/status >/dev/null; id -u"]
    with inside.session.step("setuid", tool="attack"):
        done = inside.session.run(command, capture_output=True, text=True)
        status = inside.session.run(["su", "-c", "id -u"], capture_output=True, text=True)
    assert done.stdout.strip() == str(os.getuid())
    assert status.stdout.strip() != "0" or os.getuid() == 0
    privileges = inside.do("calls.py", "privileges").result
    assert privileges["NoNewPrivs"] == "1"
