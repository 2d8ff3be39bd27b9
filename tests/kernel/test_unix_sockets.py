"""Unix sockets: one's own work, and those of outsiders are out of reach however they are named."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import Inside, Listener, Open

Listen = Callable[..., Listener]


@pytest.fixture
def unix_listener(outside: Path, listen: Listen) -> tuple[Listener, Path]:
    path = outside / "docker.sock"
    return listen(socket.AF_UNIX, str(path)), path


def test_the_path_of_an_outsiders_socket_reaches_nobody(inside: Inside, unix_listener: tuple[Listener, Path]) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_connect", path)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", family="unix", address=str(path))) == 1
    assert not listener.reached()


def test_nor_does_a_relative_path(inside: Inside, unix_listener: tuple[Listener, Path]) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_connect", os.path.relpath(path, inside.workspace))
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", family="unix")) == 1
    assert not listener.reached()


def test_nor_does_a_path_from_within_its_directory(inside: Inside, unix_listener: tuple[Listener, Path]) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_connect_from", path.parent, path.name)
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", family="unix")) == 1
    assert not listener.reached()


@pytest.mark.parametrize("prefix", ["/proc/self/root", "/proc/thread-self/root", "/proc/self/cwd/../../../../../.."])
def test_nor_does_a_path_through_proc(inside: Inside, unix_listener: tuple[Listener, Path], prefix: str) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_connect", f"{prefix}{path}")
    assert attempt.errno in (errno.EACCES, errno.ENOENT)
    assert not listener.reached()


def test_nor_does_a_symbolic_link(inside: Inside, unix_listener: tuple[Listener, Path]) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_link", "symlink", path)
    assert attempt.result == {"made": 0, "connected": errno.EACCES}
    assert len(attempt.refusals("connect", family="unix")) == 1
    assert not listener.reached()


@pytest.mark.parametrize("how", ["link", "rename"])
def test_nor_can_it_be_brought_into_the_workspace(
    inside: Inside, unix_listener: tuple[Listener, Path], how: str
) -> None:
    listener, path = unix_listener
    attempt = inside.do("network.py", "unix_link", how, path)
    assert attempt.result["made"] in (errno.EACCES, errno.EXDEV)
    assert attempt.result["connected"] == errno.ENOENT
    assert path.exists()
    assert not listener.reached()


def test_an_inode_number_that_was_given_back_opens_no_outsiders_socket(inside: Inside, listen: Listen) -> None:
    """The outsider binds in the same directory, where a file system that reuses numbers reuses them first."""
    directory = inside.workspace / "numbers"
    directory.mkdir()
    path = directory / "outsider.sock"
    command = [sys.executable, "-B", f"{inside.workspace}/network.py", "unix_reused_number", str(path), str(directory)]
    with inside.session.step("numbers", tool="attack"):
        program = inside.session.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "given back\n"
        listener = listen(socket.AF_UNIX, str(path))
        program.stdin.write("\n")
        program.stdin.close()
        said = program.stdout.read()
        program.wait()
    assert '"connected": 0' in said
    assert not listener.reached()


def test_exchanging_the_directory_of_a_socket_while_it_is_bound_reaches_nobody(
    inside: Inside, unix_listener: tuple[Listener, Path], compile_program: Callable[[str], Path]
) -> None:
    listener, path = unix_listener
    program = inside.workspace / "unix_bind_race"
    program.write_bytes(compile_program("unix_bind_race").read_bytes())
    program.chmod(0o755)
    attempt = inside.run([str(program), str(path.parent), path.name, "300"])
    assert attempt.status == 0, attempt.errors
    assert not listener.reached()
    # The directory really led to the outsider's while connects were judged.
    assert attempt.refusals("connect", family="unix", wall="unix-sockets")


def test_a_unix_socket_that_the_scope_grants_is_reached(open_session: Open, outside: Path, listen: Listen) -> None:
    listener = listen(socket.AF_UNIX, str(outside / "granted.sock"))
    session = open_session(f"network: {{unix: [{outside}/granted.sock]}}\n")
    assert session.do("network.py", "unix_connect", outside / "granted.sock").errno == 0
    assert listener.reached()


def test_the_abstract_socket_of_an_outsider_is_not_reached(inside: Inside, listen: Listen) -> None:
    name = f"remit-test-{os.getpid()}"
    listener = listen(socket.AF_UNIX, "\0" + name)
    attempt = inside.do("network.py", "unix_connect", f"@{name}")
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("connect", family="unix", address=f"@{name}", wall="abstract-sockets")) == 1
    assert not listener.reached()


@pytest.mark.parametrize("name", ["own.sock", "./deep/own.sock", "@own"])
def test_a_socket_of_ones_own_works(inside: Inside, name: str) -> None:
    (inside.workspace / "deep").mkdir(exist_ok=True)
    attempt = inside.do("network.py", "unix_own", name)
    assert attempt.result == "hello"
    assert [r for r in attempt.records if r.get("refused")] == []


def test_a_socket_cannot_be_bound_where_files_cannot_be_written(inside: Inside, outside: Path) -> None:
    attempt = inside.do("network.py", "unix_bind", outside / "planted.sock")
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("bind", family="unix", operation="bind", wall="files")) == 1
    assert not (outside / "planted.sock").exists()


def test_the_control_socket_is_out_of_reach(inside: Inside) -> None:
    # Over a link: the path itself may be longer than an address can be.
    (inside.workspace / "evidence").symlink_to(inside.session.evidence)
    attempt = inside.do("network.py", "unix_connect", "evidence/control.sock")
    assert attempt.errno in (errno.EACCES, errno.EINVAL)
    assert len(attempt.refusals("connect", family="unix")) == 1
