"""The seccomp filter lets nothing forbidden through, whatever stands in the upper halves of the registers."""

from __future__ import annotations

import base64
import itertools
import subprocess
import sys
from functools import cache

import pyseccomp
import pytest
from bpf_machine import ALLOW, ERRNO, KILL_PROCESS, NOTIFY, Instruction, decode, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.boundary import filters
from remit.errors import BoundaryError

GARBAGE = (0, 1 << 32, 0xFFFFFFFF << 32, 0xDEADBEEF << 32, 1 << 63)
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16


@cache
def program(machine: str = "x86_64") -> list[Instruction]:
    return decode(base64.b64decode(filters.compile_filter(machine)))


@cache
def number(name: str, machine: str = "x86_64") -> int:
    found = filters.resolve(pyseccomp, machine, name)
    assert found is not None
    return found


def ask(name: str, *arguments: int, machine: str = "x86_64") -> int:
    return verdict(program(machine), number(name, machine), arguments, machine)


def test_every_question_has_a_number_on_x86_64() -> None:
    for name in filters.QUESTIONS:
        assert filters.resolve(pyseccomp, "x86_64", name) is not None, name


def test_a_number_we_know_ourselves_agrees_with_libseccomp() -> None:
    for name, known in filters.RECENT_NUMBERS.items():
        told = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name)
        assert told in (known, -1), name


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_calls_without_conditions_always_ask(machine: str) -> None:
    for rule in filters.RULES:
        if rule.conditions or filters.resolve(pyseccomp, machine, rule.name) is None:
            continue
        if machine != "x86_64" and rule.name in filters.RECENT_NUMBERS and not _libseccomp_knows(rule.name):
            continue  # cannot be translated when compiled on another machine
        expected = NOTIFY if rule.errno is None else ERRNO | rule.errno
        assert ask(rule.name, machine=machine) == expected, rule.name
        assert ask(rule.name, *[0xFFFFFFFFFFFFFFFF] * 6, machine=machine) == expected, rule.name


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_all_other_numbers_pass(machine: str) -> None:
    listed = {filters.resolve(pyseccomp, machine, rule.name) for rule in filters.RULES}
    for call in range(600):
        if call not in listed:
            assert verdict(program(machine), call, [0xFFFFFFFFFFFFFFFF] * 6, machine) == ALLOW, call


def test_foreign_architectures_and_x32_are_killed() -> None:
    for call in range(600):
        assert verdict(program(), call, machine="i386") == KILL_PROCESS
        assert verdict(program(), call, machine="aarch64") == KILL_PROCESS
        assert verdict(program(), 0x40000000 | call) == KILL_PROCESS
        assert verdict(program("aarch64"), call, machine="arm") == KILL_PROCESS
        assert verdict(program("aarch64"), call, machine="x86_64") == KILL_PROCESS


def _socket_allowed(family: int, kind: int, protocol: int) -> bool:
    """What the kernel would make of these registers, and whether the scope language allows such a socket."""
    family, kind, protocol = (value & 0xFFFFFFFF for value in (family, kind, protocol))
    base = kind & 0xF
    if family == UNIX:
        return base in (1, 5)
    if family in (INET, INET6):
        return base == 1 and protocol in (0, 6)
    return family == NETLINK and protocol == 0


def test_socket_is_an_allow_list() -> None:
    protocols = (*range(20), 58, 132, 136, 255, 262, 0x80000000, 0xFFFFFFFF, 0x106)
    flags = (0, 0x800, 0x80000, 0x80800, 0x10, 0x40000000)
    families = (*range(61), 0x101, 0x80000001, 0xFFFFFFFF)
    for family, base, flag, protocol in itertools.product(families, range(16), flags, protocols):
        answer = ask("socket", family, base | flag, protocol)
        expected = ALLOW if _socket_allowed(family, base | flag, protocol) else NOTIFY
        assert answer == expected, (family, base, flag, protocol)


def test_garbage_in_the_upper_halves_never_opens_a_socket() -> None:
    for family, base, protocol in itertools.product(range(40), range(16), (0, 1, 6, 17, 262)):
        for dirt in itertools.product(GARBAGE, repeat=3):
            answer = ask("socket", family | dirt[0], base | dirt[1], protocol | dirt[2])
            if not _socket_allowed(family, base, protocol):
                assert answer == NOTIFY, (family, base, protocol, dirt)


@settings(max_examples=500)
@given(st.lists(st.integers(0, 0xFFFFFFFFFFFFFFFF), min_size=3, max_size=3))
def test_no_registers_at_all_open_a_forbidden_socket(registers: list[int]) -> None:
    if ask("socket", *registers) == ALLOW:
        assert _socket_allowed(*registers)


def test_socketpair_is_unix_stream_or_seqpacket() -> None:
    for family, kind, dirt in itertools.product(range(61), range(16), GARBAGE):
        allowed = family == UNIX and kind in (1, 5)
        for flag in (0, 0x800, 0x80000, 0x80800):
            answer = ask("socketpair", family, kind | flag | dirt, 0)
            assert answer == (ALLOW if allowed else NOTIFY), (family, kind, dirt)
            if not allowed:
                assert ask("socketpair", family | dirt, kind | flag, 0) == NOTIFY


@pytest.mark.parametrize("dirt", GARBAGE)
@pytest.mark.parametrize("machine", filters.MACHINES)
def test_only_threads_are_made_without_a_question(machine: str, dirt: int) -> None:
    thread = 0x3D0F00  # what pthread_create passes
    assert ask("clone", thread | dirt, machine=machine) == ALLOW
    assert ask("clone", 0x01200011 | dirt, machine=machine) == NOTIFY  # fork
    assert ask("clone", 0x4111 | dirt, machine=machine) == NOTIFY  # vfork
    for flag in (0x8000, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask("clone", thread | flag | dirt, machine=machine) == NOTIFY, hex(flag)


@pytest.mark.parametrize("dirt", GARBAGE)
@pytest.mark.parametrize(("name", "position"), [("open", 1), ("openat", 2)])
def test_opens_ask_exactly_when_they_would_write(name: str, position: int, dirt: int) -> None:
    for mode, create, truncate, other in itertools.product(range(4), (0, 0o100), (0, 0o1000), (0, 0o2000000, 0o204000)):
        arguments = [0xFFFFFF9C, 0x7FFF00001000, 0, 0]
        arguments[position] = mode | create | truncate | other | dirt
        assert ask(name, *arguments) == (NOTIFY if mode or create or truncate else ALLOW)


@pytest.mark.parametrize("dirt", GARBAGE)
def test_addressed_and_fast_open_sends_ask(dirt: int) -> None:
    assert ask("sendto", 3, 0x1000, 5, 0x4000 | dirt, 0, 0) == ALLOW
    assert ask("sendto", 3, 0x1000, 5, 0, 0x7FFF00000000, 16) == NOTIFY
    assert ask("sendto", 3, 0x1000, 5, 0, 1 << 32, 16) == NOTIFY
    assert ask("sendto", 3, 0x1000, 5, 0x20000000 | dirt, 0, 0) == NOTIFY
    assert ask("sendmsg", 3, 0x1000, 0x4000 | dirt) == ALLOW
    assert ask("sendmsg", 3, 0x1000, 0x20004000 | dirt) == NOTIFY
    assert ask("sendmmsg", 3, 0x1000, 1, 0x4000 | dirt) == ALLOW
    assert ask("sendmmsg", 3, 0x1000, 1, 0x20000000 | dirt) == NOTIFY


@pytest.mark.parametrize("dirt", GARBAGE)
def test_where_udp_is_granted_every_send_behind_a_pointer_asks(dirt: int) -> None:
    datagrams = decode(base64.b64decode(filters.compile_filter("x86_64", datagrams=True)))
    for name in ("sendmsg", "sendmmsg"):
        assert verdict(datagrams, number(name), (3 | dirt, 0x1000, 0x4000 | dirt, 0), "x86_64") == NOTIFY
    for name in ("read", "write", "recvmsg", "openat"):
        assert verdict(datagrams, number(name), (3, 0x1000, 0, 0), "x86_64") == ALLOW
    assert verdict(datagrams, number("sendto"), (3, 0x1000, 9, 0x4000 | dirt, 0, 0), "x86_64") == ALLOW


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_where_sockets_are_made_for_the_agent_every_socket_asks(machine: str) -> None:
    made = decode(base64.b64decode(filters.compile_filter(machine, make_sockets=True)))
    for family, kind, dirt in itertools.product(range(20), (1, 2, 5, 0x80801), GARBAGE):
        for protocol in (0, 6, 17):
            arguments = (family | dirt, kind | dirt, protocol | dirt)
            assert verdict(made, number("socket", machine), arguments, machine) == NOTIFY
    for name in ("read", "accept4", "sendmsg", "getsockopt"):
        assert verdict(made, number(name, machine), (3, 0x1000, 0, 0), machine) == ALLOW


@pytest.mark.parametrize("dirt", GARBAGE)
def test_no_option_is_set_that_routes_packets_elsewhere(dirt: int) -> None:
    for level, option in ((0, 4), (41, 5), (41, 6), (41, 57)):
        assert ask("setsockopt", 3, level | dirt, option | dirt) == NOTIFY
    for level, option in ((1, 4), (0, 2), (6, 1), (41, 26)):
        assert ask("setsockopt", 3, level | dirt, option | dirt) == ALLOW


@pytest.mark.parametrize("dirt", GARBAGE)
def test_narrow_questions(dirt: int) -> None:
    assert ask("prctl", 4 | dirt, 0) == NOTIFY
    assert ask("prctl", 36 | dirt, 1) == NOTIFY
    assert ask("prctl", 15 | dirt, 0x1000) == ALLOW  # PR_SET_NAME
    assert ask("ioctl", 0, 0x5412 | dirt) == NOTIFY
    assert ask("ioctl", 0, 0x541C | dirt) == NOTIFY
    assert ask("ioctl", 0, 0x5401 | dirt) == ALLOW  # TCGETS
    assert ask("ioctl", 0, 0x40049409 | dirt) == ALLOW  # FICLONE
    for request in filters.FILE_REQUESTS:
        assert ask("ioctl", 0, request | dirt) == NOTIFY
    for kind in (0, 1):
        assert ask("fcntl", 0, 1024 | dirt, kind | dirt) == NOTIFY  # F_SETLEASE
    assert ask("fcntl", 0, 1024 | dirt, 2 | dirt) == ALLOW  # F_UNLCK
    assert ask("fcntl", 0, 1040 | dirt, 0x1000) == NOTIFY  # F_SETDELEG
    for command in (0, 1, 2, 3, 4, 6, 1025, 1030):
        assert ask("fcntl", 0, command | dirt, 1) == ALLOW
    assert ask("seccomp", 1, 8 | dirt, 0x1000) == NOTIFY
    assert ask("seccomp", 1, 0x18 | dirt, 0x1000) == NOTIFY
    assert ask("seccomp", 1, 1 | dirt, 0x1000) == ALLOW
    assert ask("setpriority", 0 | dirt, 77 | dirt, 5) == NOTIFY
    assert ask("setpriority", 1 | dirt, 0, 5) == NOTIFY
    assert ask("ioprio_set", 1 | dirt, 77 | dirt, 5) == NOTIFY
    assert ask("ioprio_set", 3 | dirt, 0, 5) == NOTIFY
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        assert ask(name, 4711 | dirt) == NOTIFY, name


def test_a_process_may_change_itself() -> None:
    assert ask("setpriority", 0, 0, 5) == ALLOW
    assert ask("ioprio_set", 1, 0, 5) == ALLOW
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        assert ask(name, 0, 1, 2) == ALLOW, name


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_the_same_bytes_in_another_process(machine: str) -> None:
    code = f"from remit.boundary.filters import compile_filter as c; print(c({machine!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.strip() == filters.compile_filter(machine)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(BoundaryError, match="riscv64"):
        filters.compile_filter("riscv64")


def _libseccomp_knows(name: str) -> bool:
    found: int = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name)
    return found >= 0


@cache
def program_for_signals(machine: str = "x86_64") -> list[Instruction]:
    return decode(base64.b64decode(filters.compile_filter(machine, signals=True)))


@pytest.mark.parametrize("dirt", GARBAGE)
@pytest.mark.parametrize("machine", filters.MACHINES)
def test_where_landlock_has_no_wall_for_signals_every_one_asks(machine: str, dirt: int) -> None:
    def decided(name: str, *arguments: int) -> int:
        return verdict(program_for_signals(machine), number(name, machine), arguments, machine)

    for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"):
        for value in (0, 1, 4711, 0xFFFFFFFF):
            assert decided(name, *[value | dirt] * 4) == NOTIFY, name
            assert ask(name, *[value | dirt] * 4, machine=machine) == ALLOW, name
    for command in (8, 15):  # F_SETOWN, F_SETOWN_EX
        assert decided("fcntl", 3, command | dirt, 77 | dirt) == NOTIFY
    assert decided("fcntl", 3, 4 | dirt, 0x2000 | dirt) == NOTIFY  # F_SETFL O_ASYNC
    assert decided("fcntl", 3, 4 | dirt, 0x2C00 | dirt) == NOTIFY
    assert decided("fcntl", 3, 4 | dirt, 0xC00 | dirt) == ALLOW
    for command in (0, 1, 2, 3, 6, 9, 10, 1030):  # F_DUPFD, F_GETFL, F_SETLK, F_SETSIG and others
        assert decided("fcntl", 3, command | dirt, 0x2000) == ALLOW
    for request in (0x8901, 0x8902, 0x5452):  # FIOSETOWN, SIOCSPGRP, FIOASYNC
        assert decided("ioctl", 3, request | dirt, 0x1000) == NOTIFY
    for request in (0x5401, 0x5421, 0x8903):  # TCGETS, FIONBIO, FIOGETOWN
        assert decided("ioctl", 3, request | dirt, 0x1000) == ALLOW


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_the_rules_for_signals_change_nothing_else(machine: str) -> None:
    theirs = {filters.resolve(pyseccomp, machine, rule.name) for rule in filters.SIGNALS}
    for call in range(600):
        for value in (0, 1, 2, 16, *GARBAGE, 0xFFFFFFFFFFFFFFFF):
            if call not in theirs:
                assert verdict(program_for_signals(machine), call, [value] * 6, machine) == verdict(
                    program(machine), call, [value] * 6, machine
                ), (call, value)


@cache
def full_program(machine: str = "x86_64") -> list[Instruction]:
    return decode(base64.b64decode(filters.compile_filter(machine, filters.FULL_RULES)))


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_in_full_sight_every_open_and_change_of_a_name_asks(machine: str) -> None:
    for rule in (*filters.EVERY_OPEN, *filters.CHANGES):
        call = filters.resolve(pyseccomp, machine, rule.name)
        if call is None:
            continue
        for value in (0, *GARBAGE, 0xFFFFFFFFFFFFFFFF):
            assert verdict(full_program(machine), call, [value] * 6, machine) == NOTIFY, rule.name


@pytest.mark.parametrize("machine", filters.MACHINES)
def test_full_sight_decides_all_else_as_normal_sight_does(machine: str) -> None:
    seen = {filters.resolve(pyseccomp, machine, rule.name) for rule in (*filters.EVERY_OPEN, *filters.CHANGES)}
    for call in range(600):
        for value in (0, 1, 2, 16, *GARBAGE):
            if call not in seen:
                arguments = [value] * 6
                assert verdict(full_program(machine), call, arguments, machine) == verdict(
                    program(machine), call, arguments, machine
                ), (call, value)
