"""What this machine can enforce and observe, found by trying; what each missing piece costs, and how to get it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from remit.boundary.host import Host, find_host
from remit.kernel import pidfd, raw, seccomp

_USER, _MOUNT = 0x10000000, 0x00020000
_ALLOW = bytes((6, 0, 0, 0, 0, 0, 0xFF, 0x7F))  # one instruction: return SECCOMP_RET_ALLOW


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing a machine can have. `costs` and `hint` matter where it is not there."""

    name: str
    present: bool
    detail: str
    costs: str
    hint: str


_LANDLOCK = (
    # (ABI, kernel, what it brings, what its absence costs)
    (1, "5.13", "files", "no wall around files: gap files-unwalled"),
    (2, "5.19", "renames and links between directories", "each is refused, granted or not: gap refer-unwalled"),
    (3, "6.2", "truncate", "the deputy does it, and openat2 is missing"),
    (4, "6.7", "TCP", "only the supervisor stands before connect and bind: gap network-unwalled"),
    (5, "6.10", "ioctl on devices", "readable devices can be steered: gap device-ioctl-unwalled"),
    (
        6,
        "6.12",
        "signals and abstract sockets",
        "only the supervisor stands before signals; gap abstract-sockets-unwalled",
    ),
)


def find_abilities() -> list[Ability]:
    """Everything a plan or a supervisor can make use of here."""
    host = find_host()
    kernel = "boot a kernel that has it, with landlock in the list of lsm= on its command line"
    found = [
        Ability(f"landlock: {brings}", host.landlock_abi >= abi, f"ABI {host.landlock_abi}, this needs {abi} ({since})",
                costs, kernel)
        for abi, since, brings, costs in _LANDLOCK
    ]  # fmt: skip
    namespaces = _in_a_child(lambda: raw.call("unshare", _USER))
    sandbox = "allow user namespaces (user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"
    found += [
        Ability("seccomp user notification", host.seccomp_notify, "questions to the supervisor", "nothing can be run",
                "use Linux 5.0 or newer, and a container whose profile allows seccomp(2)"),
        _ability("synchronous questions", _in_a_child(_synchronous), "a question costs 10 microseconds",
                 "a question costs five times as much", "boot Linux 6.6 or newer"),
        _ability("taking descriptors", _in_a_child(_take_descriptor), "a connect is done on the socket that was judged",
                 "sockets are made for the agent instead, and none for datagrams",
                 "give the container CAP_SYS_PTRACE, or a newer profile"),
        _ability("libseccomp", _load_libseccomp(), "compiles the filter", "no scope can be compiled",
                 "apt install libseccomp2"),
        _ability("user namespaces", namespaces, "walls of namespaces without root",
                 "no mount, process or network namespace without root", sandbox),
        _ability("mount namespaces", _in_a_child(partial(raw.call, "unshare", _USER | _MOUNT)),
                 "a part of a granted tree can be taken back",
                 "gaps secret-inside-grant and protected-inside-grant stay open", sandbox),
    ]  # fmt: skip
    return found + _cgroups(host)


def _cgroups(host: Host) -> list[Ability]:
    """What a session's own cgroups can be here."""
    if host.landlock_abi < 1:
        reason, hint = "without Landlock a cgroup is no wall", "boot a kernel that has Landlock"
    else:
        reason = "" if host.cgroup else "this user may make no cgroup where it is"
        hint = (
            "systemd-run --user --scope -p Delegate=yes -- remit ..., or give this user a cgroup of its own; in a "
            "container mount /sys/fs/cgroup writable, with a cgroup namespace (docker run --cgroupns=private)"
        )
    missing = "no such controller where this user may make cgroups"
    return [
        Ability(name, present and host.landlock_abi >= 1, brings if present and not reason else reason or missing,
                costs, hint)
        for name, present, brings, costs in (
            ("cgroup: memory", host.cgroup_memory, "the kernel holds compute.memory, shared memory included",
             "compute.memory is polled, over resident memory"),
            ("cgroup: tasks", host.cgroup_pids, "the kernel limits threads, too",
             "only the supervisor counts processes, and nobody threads"),
            ("cgroup: freezer", host.cgroup_freezer, "the kernel freezes the whole tree at once",
             "processes are stopped one by one, each with SIGSTOP"),
        )
    ]  # fmt: skip


def _ability(name: str, problem: str, brings: str, costs: str, hint: str) -> Ability:
    return Ability(name, not problem, problem or brings, costs, hint)


def _in_a_child(act: Callable[[], object]) -> str:
    """Try something in a child; the error it met, or nothing."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            act()
        except OSError as problem:
            status = problem.errno or 255
        except BaseException:
            status = 255
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        return f"killed by signal {-status}"
    return os.strerror(status) if status else ""


def _synchronous() -> None:
    raw.call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    listener, _ = seccomp.install_filter(_ALLOW)
    if not seccomp.set_sync_wake_up(listener):
        raise OSError(25, "no such flag")


def _take_descriptor() -> None:
    """As the supervisor does with a process of its session: a child's socket, by pidfd_getfd(2)."""
    with socket.socket(socket.AF_UNIX) as end:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        try:
            os.close(pidfd.take_descriptor(pidfd.open_process(pid), end.fileno()))
        finally:
            os.close(writer)
            os.waitpid(pid, 0)


def _load_libseccomp() -> str:
    try:
        from remit.boundary.filters import compile_filter

        compile_filter(os.uname().machine)
    except Exception as problem:
        return str(problem)
    return ""
