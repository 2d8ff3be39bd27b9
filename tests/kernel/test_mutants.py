"""No rule of the filter is there for nothing: without it, an attempt comes out open."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from proving import examine_alone, prove

from remit.attempts.attempt import OPEN, Outside, Result
from remit.attempts.catalogue import BY_NAME
from remit.boundary import filters
from remit.boundary.filters import RULES, SIGNALS, TRUNCATE, Rule, compile_filter
from remit.doctor.examination import AT_MOST
from remit.doctor.outsiders import Outsiders
from remit.kernel import raw
from remit.kernel.libc import MACHINE
from remit.plan import Plan

# Which attempts try a call, where that is not the attempt that is called after it.
TRIED_BY: dict[str, tuple[str, ...]] = {
    "clone": ("another-parent", "own-descriptors", *(name for name in BY_NAME if name.startswith("namespace-"))),
    "clone3": ("hidden-flags",),
    "close_range": ("own-descriptors",),
    "setsockopt": ("source-route",),
    "open": ("write-open",),
    "openat": ("write-openat",),
    "openat2": ("write-openat2",),
    "creat": ("write-creat",),
    "socket": tuple(name for name in BY_NAME if name.startswith("socket-") and name != "socket-handed-over"),
    "socketpair": ("pair-kinds",),
    "connect": ("tcp-v4",),
    "bind": ("bind",),
    "listen": ("listen-without-bind",),
    "sendto": ("fast-open-sendto",),
    "sendmsg": ("fast-open-sendmsg",),
    "sendmmsg": ("fast-open-sendmmsg",),
    "prctl": ("undumpable", "subreaper"),
    "ioctl": (
        *("terminal-input", "console-input"),
        *("flags-by-descriptor", "flags-of-one-file-system", "requests-of-file-systems"),
    ),
    "fcntl": ("lease",),
    "seccomp": ("second-listener",),
    **dict.fromkeys(("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"), ("trace-neighbour",)),
    **dict.fromkeys(("prlimit64", "setpriority", "ioprio_set"), ("steer-neighbour",)),
    **dict.fromkeys(
        ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"), ("steer-neighbour",)
    ),
    **{f"io_uring_{verb}": (f"io-uring-{verb}",) for verb in ("setup", "enter", "register")},
    "setns": ("namespace-join",),
    "unshare": ("namespace-user", "namespace-time"),
    "open_by_handle_at": ("open-by-handle",),
    **dict.fromkeys(("shmget", "shmat", "shmctl"), ("shared-memory",)),
    **dict.fromkeys(("msgget", "msgsnd", "msgrcv", "msgctl"), ("messages",)),
    **dict.fromkeys(("semget", "semop", "semtimedop", "semctl"), ("semaphores",)),
    **dict.fromkeys(("mq_open", "mq_unlink"), ("message-queues",)),
}
# Of those rules that stand only where Landlock has no wall for signals.
SIGNALS_TRIED_BY = ("signal-neighbour", "signal-by-owner", "signal-by-terminal")
# How processes come, go and become others is watched of the agent's own, which take a whole session to make.
BY_SESSION: dict[str, tuple[str, ...]] = {
    "execve": ("memory-by-path",),
    "execveat": ("memory-by-descriptor",),
    "fork": ("too-many",),
    "vfork": ("too-many",),
    "exit_group": ("orphan",),
}


def describe(rule: Rule) -> str:
    conditions = (f"{c.argument} {c.operator} {c.mask:#x} {c.value:#x}" for c in rule.conditions)
    return " ".join((rule.name, *conditions))


@pytest.fixture(scope="module")
def outside(outsiders: Outsiders) -> Outside:
    return outsiders.outside.but(at_most=AT_MOST)


def chosen_for(rule: Rule) -> tuple[tuple[str, ...], bool]:
    """The attempts that try what a rule refuses, and whether they need a whole session."""
    if rule.name in BY_SESSION:
        return BY_SESSION[rule.name], True
    if rule == Rule("clone", (filters._bits(0, filters.CLONE_THREAD, 0),)):
        return ("too-many",), True
    return TRIED_BY.get(rule.name, (f"call-{rule.name}",)), False


def run(
    plan: Plan, rules: tuple[Rule, ...], names: tuple[str, ...], by_session: bool, outside: Outside
) -> list[Result]:
    mutant = plan._replace(seccomp=compile_filter(MACHINE, rules))
    return examine_alone(mutant, names, outside) if by_session else prove(mutant, names, outside)


@pytest.fixture(scope="module")
def older_plan(plan_on: Callable[[int], Plan]) -> Plan:
    """On a host whose Landlock has no scopes."""
    return plan_on(5)


def test_the_rules_for_signals_leave_none_of_them_open(older_plan: Plan, outside: Outside) -> None:
    assert shown(run(older_plan, (*RULES, *SIGNALS), SIGNALS_TRIED_BY, False, outside)) == []


@pytest.mark.parametrize("rule", [rule for rule in SIGNALS if raw.number(rule.name) is not None], ids=describe)
def test_without_a_rule_for_signals_an_attempt_is_open(older_plan: Plan, outside: Outside, rule: Rule) -> None:
    rest = (*RULES, *(other for other in SIGNALS if other is not rule))
    found = shown(run(older_plan, rest, SIGNALS_TRIED_BY, False, outside))
    assert len(found) == 1, f"not one attempt needs this rule: {describe(rule)}: {found}"


def test_without_the_rule_for_truncate_evidence_can_be_emptied(
    plan_on: Callable[[int], Plan], outside: Outside
) -> None:
    plan, names = plan_on(2), ("truncate", "evidence-remove", "truncate-by-open")

    def open_ones(rules: tuple[Rule, ...]) -> list[str]:
        return [name for name, _ in shown(run(plan, rules, names, False, outside)) if name in names]

    assert open_ones((*RULES, *SIGNALS, *TRUNCATE)) == []
    assert open_ones((*RULES, *SIGNALS)) == ["truncate", "evidence-remove"]


def shown(results: list[Result]) -> list[tuple[str, str]]:
    return [(result.name, result.reason) for result in results if result.result == OPEN]


def test_the_whole_filter_leaves_none_of_them_open(plan: Plan, outside: Outside) -> None:
    by_session = {name: None for rule in RULES for name in chosen_for(rule)[0] if chosen_for(rule)[1]}
    at_start = {name: None for rule in RULES for name in chosen_for(rule)[0] if not chosen_for(rule)[1]}
    assert shown(run(plan, RULES, tuple(by_session), True, outside)) == []
    assert shown(run(plan, RULES, tuple(at_start), False, outside)) == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if raw.number(rule.name) is not None], ids=describe)
def test_without_a_rule_of_the_filter_an_attempt_is_open(plan: Plan, outside: Outside, rule: Rule) -> None:
    names, by_session = chosen_for(rule)
    rest = tuple(other for other in RULES if other is not rule)
    assert len(rest) == len(RULES) - 1
    assert shown(run(plan, rest, names, by_session, outside)), f"no attempt needs this rule: {describe(rule)}"
