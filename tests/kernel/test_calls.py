"""System calls that no scope grants are refused by number, recorded by name, and the session goes on."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest
from attacks import SECRET, Inside, Open, number

CLONE_PARENT = 0x8000
NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "user and mount": 0x10020000,
}

NEVER_GRANTED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
    *("migrate_pages", "move_pages", "keyctl", "add_key", "request_key"),
    *("bpf", "perf_event_open", "userfaultfd", "setns", "open_by_handle_at", "fanotify_init"),
    *("mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount"),
    *("open_tree", "mount_setattr", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load"),
    *("init_module", "finit_module", "delete_module", "acct", "quotactl", "quotactl_fd", "iopl", "ioperm"),
    *("modify_ldt", "vhangup", "syslog", "sethostname", "setdomainname", "settimeofday", "clock_settime"),
    *("clock_adjtime", "adjtimex", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("semget", "semop", "semtimedop", "semctl", "mq_open", "mq_unlink"),
)


@pytest.mark.parametrize("name", NEVER_GRANTED)
def test_a_call_that_no_scope_grants_is_refused_and_recorded(inside: Inside, name: str) -> None:
    attempt = inside.do("calls.py", "call", number(name), 0, 0, 0, 0, 0, 0)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation=name, errno=errno.EPERM)) == 1


@pytest.mark.parametrize("name", ["io_uring_setup", "io_uring_enter", "io_uring_register"])
def test_io_uring_seems_not_to_exist(inside: Inside, name: str) -> None:
    attempt = inside.do("calls.py", "call", number(name), 8, 0, 0, 0, 0, 0)
    assert attempt.errno == errno.ENOSYS
    assert len(attempt.refusals("privilege", operation=name)) == 1


def test_clone3_seems_not_to_exist_because_its_flags_cannot_be_seen(inside: Inside) -> None:
    assert inside.do("calls.py", "call", number("clone3"), 0, 88).errno == errno.ENOSYS


@pytest.mark.parametrize("name", NAMESPACES)
@pytest.mark.parametrize("act", ["clone", "clone_dirty"])
def test_clone_makes_no_namespace(inside: Inside, act: str, name: str) -> None:
    attempt = inside.do("calls.py", act, number("clone"), NAMESPACES[name])
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="clone")) == 1


@pytest.mark.parametrize("name", [*NAMESPACES, "time"])
def test_unshare_makes_no_namespace(inside: Inside, name: str) -> None:
    attempt = inside.do("calls.py", "call", number("unshare"), NAMESPACES.get(name, 0x80))
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="unshare")) == 1


def test_a_child_cannot_be_given_to_another_parent(inside: Inside) -> None:
    attempt = inside.do("calls.py", "clone", number("clone"), CLONE_PARENT)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="clone")) == 1


def test_clone_without_namespaces_works(inside: Inside) -> None:
    attempt = inside.do("calls.py", "clone", number("clone"), 0)
    assert attempt.errno == 0
    assert [r for r in attempt.records if r.get("refused")] == []


def test_unshare_of_what_threads_share_works(inside: Inside) -> None:
    assert inside.do("calls.py", "call", number("unshare"), 0x400 | 0x200).errno == 0


@pytest.mark.parametrize(
    ("name", "arguments"), [("unshare", (0x400,)), ("unshare", (0x600,)), ("close_range", (500, 600, 2))]
)
def test_a_thread_cannot_have_descriptors_of_its_own(inside: Inside, name: str, arguments: tuple[int, ...]) -> None:
    """Else what a shell listens to could be held where nobody looks."""
    attempt = inside.do("calls.py", "split", number(name), *arguments)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation=name)) == 1


def test_nor_can_such_a_thread_be_made(inside: Inside) -> None:
    attempt = inside.do("calls.py", "clone", number("clone"), 0x10000 | 0x800 | 0x100)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="clone")) == 1


def test_the_only_thread_may_close_descriptors_as_it_likes(inside: Inside) -> None:
    assert inside.do("calls.py", "call", number("close_range"), 500, 600, 2).errno == 0
    assert inside.do("calls.py", "split", number("close_range"), 500, 600, 0).errno == 0


def test_the_flags_of_a_file_cannot_be_changed_by_its_path(inside: Inside) -> None:
    assert inside.do("calls.py", "call", number("file_setattr"), 0, 0, 0, 0, 0).errno == errno.ENOSYS


def test_a_process_cannot_become_a_subreaper_and_hide_whose_child_an_orphan_is(inside: Inside) -> None:
    attempt = inside.do("calls.py", "call", number("prctl"), 36, 1)
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="prctl")) == 1


def test_a_process_stays_dumpable_although_it_is_told_otherwise(inside: Inside) -> None:
    assert inside.do("calls.py", "dumpable").result == {"answered": 0, "dumpable": 1}


def test_a_second_listener_cannot_be_installed(inside: Inside) -> None:
    attempt = inside.do("calls.py", "new_listener", number("seccomp"))
    assert attempt.errno == errno.EBUSY
    assert len(attempt.refusals("privilege", operation="seccomp")) == 1


def test_a_file_cannot_be_opened_by_its_handle(inside: Inside) -> None:
    attempt = inside.do("calls.py", "handle", number("open_by_handle_at"), "/etc/passwd")
    assert attempt.errno == errno.EPERM
    assert len(attempt.refusals("privilege", operation="open_by_handle_at")) == 1


def test_the_agent_has_no_capability_and_can_gain_none(inside: Inside) -> None:
    privileges = inside.do("calls.py", "privileges").result
    assert {privileges[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert privileges["NoNewPrivs"] == "1"
    assert privileges["Seccomp"] == "2"


def test_root_inside_is_an_ordinary_user(inside: Inside) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to see it taken away")
    privileges = inside.do("calls.py", "privileges").result
    assert privileges["Uid"].split() == ["0"] * 4
    assert privileges["CapBnd"] == "0" * 16


def test_environment_variables_that_no_scope_grants_are_absent(inside: Inside) -> None:
    environment = inside.do("calls.py", "environment").result
    assert "MODEL_API_KEY" not in environment
    assert SECRET not in environment.values()
    assert environment["HOME"].endswith("/home")


def test_a_variable_that_the_scope_passes_is_there(open_session: Open) -> None:
    session = open_session("environment: {pass: [MODEL_API_KEY], set: {GREETING: hello}}\n")
    environment = session.do("calls.py", "environment").result
    assert (environment["MODEL_API_KEY"], environment["GREETING"]) == (SECRET, "hello")


def test_processes_at_most_is_the_number_of_processes_alive_at_once(open_session: Open) -> None:
    session = open_session("processes: {at-most: 6}\n")
    attempt = session.do("calls.py", "fork_until_refused", 20)
    assert attempt.result == {"children": 5, "errno": errno.EAGAIN}
    assert len(attempt.refusals("privilege", clause="processes.at-most")) == 1
    # The children have ended, so there is room again.
    assert session.do("calls.py", "fork_until_refused", 5).result == {"children": 5, "errno": 0}


def test_a_process_does_to_its_own_child_what_it_likes(inside: Inside) -> None:
    attempt = inside.do("calls.py", "own_child")
    assert attempt.result == {"prlimit": 0, "affinity": 0, "priority": 0, "kill": 0}
    assert [r for r in attempt.records if r.get("refused")] == []


@pytest.mark.parametrize("act", ["int80", "int80_connect", "x32"])
def test_a_foreign_abi_kills_the_process(inside: Inside, compile_program: object, act: str) -> None:
    program = compile_program("foreign_abi")  # type: ignore[operator]
    place = inside.workspace / "foreign_abi"
    place.write_bytes(program.read_bytes())
    place.chmod(0o755)
    # Outside, the same call comes back with one result or another.
    assert subprocess.run([str(program), act], check=False).returncode in (0, 1)
    attempt = inside.run([str(place), act])
    assert attempt.status == -31  # SIGSYS
