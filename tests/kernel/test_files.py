"""Files outside the grants are neither read nor changed, by whatever name or descriptor; inside, everything works."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from attacks import SECRET, Inside, Open, new_workspace, number

RENAMEAT2 = 316
WRITE_BY_PATH = ("write", "append", "creat", "by_path_only_descriptor", "by_symlink", "by_directory_symlink")
CHANGE = ("truncate", "unlink", "hard_link", "rename_in", "rename_out", "map_shared")
MAKE = ("make_directory", "make_symlink", "make_fifo", "make_device")


def unchanged(outside: Path) -> bool:
    return os.listdir(outside) == ["file"] and (outside / "file").read_text() == SECRET


@pytest.mark.parametrize("act", WRITE_BY_PATH)
def test_a_file_outside_is_not_written_and_the_attempt_is_recorded(inside: Inside, outside: Path, act: str) -> None:
    attempt = inside.do("files.py", act, outside / "file")
    assert attempt.errno == errno.EACCES
    (record,) = attempt.refusals("open", errno=errno.EACCES, predicted=True, clause="files.write")
    assert record["path"] == str(outside / "file")
    assert unchanged(outside)


@pytest.mark.parametrize("act", CHANGE)
def test_a_file_outside_is_not_changed(inside: Inside, outside: Path, act: str) -> None:
    assert inside.do("files.py", act, outside / "file").errno in (errno.EACCES, errno.EXDEV)
    assert unchanged(outside)


@pytest.mark.parametrize("act", [*MAKE, "write"])
def test_nothing_is_made_outside(inside: Inside, outside: Path, act: str) -> None:
    assert inside.do("files.py", act, outside / "made").errno in (errno.EACCES, errno.EPERM)
    assert unchanged(outside)


def test_a_directory_outside_is_not_removed(inside: Inside, outside: Path) -> None:
    (outside / "empty").mkdir()
    assert inside.do("files.py", "remove_directory", outside / "empty").errno == errno.EACCES
    assert (outside / "empty").is_dir()


def test_files_are_not_exchanged_with_the_outside(inside: Inside, outside: Path) -> None:
    assert inside.do("files.py", "exchange", RENAMEAT2, outside / "file").errno in (errno.EACCES, errno.EXDEV)
    assert unchanged(outside)


def test_an_unnamed_file_is_not_made_outside(inside: Inside, outside: Path) -> None:
    assert inside.do("files.py", "unnamed_file", outside).errno == errno.EACCES


ACCESS_MODE_3 = 3  # neither reading nor writing, for ioctl only: Landlock asks for no right


@pytest.mark.parametrize(
    "flags", [os.O_WRONLY, os.O_RDWR, ACCESS_MODE_3, ACCESS_MODE_3 | os.O_TRUNC, os.O_TRUNC, os.O_WRONLY | os.O_APPEND]
)
def test_no_way_to_open_for_writing_is_left(inside: Inside, outside: Path, flags: int) -> None:
    attempt = inside.do("files.py", "open_with", flags, outside / "file")
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("open", path=str(outside / "file"))) == 1
    assert unchanged(outside)


def test_openat2_does_not_open_for_writing(inside: Inside, outside: Path) -> None:
    attempt = inside.do("files.py", "openat2", number("openat2"), os.O_WRONLY, 0, outside / "file")
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("open")) == 1
    assert unchanged(outside)


@pytest.mark.parametrize("act", ["by_directory", "from_directory"])
def test_a_way_in_by_its_directory_is_none(inside: Inside, outside: Path, act: str) -> None:
    attempt = inside.do("files.py", act, outside, "file")
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("open", path=str(outside / "file"))) == 1
    assert unchanged(outside)


@pytest.mark.parametrize("prefix", ["/proc/self/root", "/proc/thread-self/root", "/proc/self/cwd/../../../../../../.."])
def test_a_way_in_through_proc_is_none(inside: Inside, outside: Path, prefix: str) -> None:
    attempt = inside.do("files.py", "write", f"{prefix}{outside}/file")
    assert attempt.errno in (errno.EACCES, errno.ENOENT)
    assert unchanged(outside)


def test_a_way_out_of_the_workspace_by_dots_is_none(inside: Inside, outside: Path) -> None:
    attempt = inside.do("files.py", "write", os.path.relpath(outside / "file", inside.workspace))
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("open", path=str(outside / "file"))) == 1
    assert unchanged(outside)


@pytest.mark.parametrize("name", [".ssh/id_ed25519", "notes.txt"])
def test_the_home_is_not_read(inside: Inside, home: Path, name: str) -> None:
    assert inside.do("files.py", "read", home / name).errno == errno.EACCES


@pytest.mark.parametrize("name", [".", ".ssh", ".local/state/remit/sessions", ".cache/remit/plans"])
def test_the_home_is_not_listed(inside: Inside, home: Path, name: str) -> None:
    assert (home / name).is_dir()
    assert inside.do("files.py", "list_directory", home / name).errno == errno.EACCES


def test_a_secret_is_not_read_through_a_link_either(inside: Inside, home: Path) -> None:
    (inside.workspace / "notes").symlink_to(home / ".ssh" / "id_ed25519")
    assert inside.do("files.py", "read", "notes").errno == errno.EACCES


def test_a_secret_is_not_read_through_a_link_that_was_there_before(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A workspace that an earlier agent left prepared."""
    workspace = new_workspace(tmp_path_factory)
    (workspace / "notes").symlink_to(Path.home() / "notes.txt")
    command = [sys.executable, "-B", f"{workspace}/files.py", "read", "notes"]
    done = subprocess.run([remit(), "run", "--", *command], cwd=workspace, capture_output=True, text=True, check=False)
    assert f'"errno": {errno.EACCES}' in done.stdout


def test_the_evidence_is_neither_read_nor_written(inside: Inside) -> None:
    segment = inside.session.evidence / "segment-000001.jsonl"
    assert segment.is_file()
    assert inside.do("files.py", "read", segment).errno == errno.EACCES
    attempt = inside.do("files.py", "append", segment)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("open", path=str(segment))) == 1


def test_the_plans_are_not_written(inside: Inside, home: Path) -> None:
    (plan, *_) = (home / ".cache" / "remit" / "plans").iterdir()
    before = plan.read_bytes()
    assert inside.do("files.py", "write", plan).errno == errno.EACCES
    assert plan.read_bytes() == before


def test_the_temporary_directory_of_another_session_is_closed(open_session: Open, inside: Inside) -> None:
    other = open_session()
    theirs = other.do("calls.py", "environment").result["TMPDIR"]
    assert inside.do("files.py", "list_directory", theirs).errno == errno.EACCES
    assert inside.do("files.py", "write", f"{theirs}/file").errno == errno.EACCES


def test_the_temporary_directory_of_everybody_is_closed(inside: Inside) -> None:
    assert inside.do("files.py", "list_directory", "/tmp").errno == errno.EACCES
    assert inside.do("files.py", "write", f"/tmp/remit-test-{os.getpid()}").errno == errno.EACCES


def test_everything_works_inside(inside: Inside) -> None:
    attempt = inside.do("files.py", "work")
    for place, outcome in attempt.result.items():
        if place != "across":
            # No grant includes device nodes, whoever asks.
            device = outcome.pop("device")
            assert device in (errno.EACCES, errno.EPERM)
            assert outcome == dict.fromkeys(outcome, 0), place
    assert attempt.result["across"] == 0
    assert [r for r in attempt.records if r.get("refused")] == []


def test_what_every_program_opens_can_be_opened(inside: Inside) -> None:
    attempt = inside.do("files.py", "harmless")
    assert attempt.result == dict.fromkeys(attempt.result, 0)
    assert [r for r in attempt.records if r.get("refused")] == []


def remit() -> str:
    return os.path.join(os.path.dirname(sys.executable), "remit")


def run_with(workspace: Path, *words: str, **options: object) -> str:
    command = [remit(), "run", "--", sys.executable, "-B", f"{workspace}/files.py", *words]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def test_a_descriptor_that_the_caller_left_open_is_closed(
    tmp_path_factory: pytest.TempPathFactory, outside: Path
) -> None:
    workspace = new_workspace(tmp_path_factory)
    with open(outside / "file", encoding="utf-8") as file:
        os.dup2(file.fileno(), 97)
        said = run_with(workspace, "descriptor", "97", pass_fds=(97,))
        os.close(97)
    assert f'"errno": {errno.EBADF}' in said


def test_a_descriptor_that_was_opened_for_reading_is_not_opened_again_for_writing(
    tmp_path_factory: pytest.TempPathFactory, outside: Path
) -> None:
    workspace = new_workspace(tmp_path_factory)
    with open(outside / "file", encoding="utf-8") as file:
        assert f'"errno": {errno.EACCES}' in run_with(workspace, "reopen_for_writing", "0", stdin=file)
        # What was handed over may be read: the caller chose it.
        assert SECRET in run_with(workspace, "descriptor", "0", stdin=file)
    assert unchanged(outside)


def test_a_directory_that_was_handed_over_opens_nothing(inside: Inside, outside: Path) -> None:
    holder = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    # Python does not start with a directory for standard input.
    attack = f"exec 3<&0 </dev/null; {sys.executable} -B {inside.workspace}/files.py from_descriptor 3 file"
    with inside.session.step("directory", tool="attack"):
        program = inside.session.popen(["sh", "-c", attack], stdin=holder, stdout=subprocess.PIPE, text=True)
        said, _ = program.communicate()
    os.close(holder)
    assert f'"errno": {errno.EACCES}' in said
