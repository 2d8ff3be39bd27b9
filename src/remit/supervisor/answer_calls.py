"""Answers decided from registers alone: process creation, and the dangerous calls that no scope grants."""

from __future__ import annotations

import contextlib
import errno
import signal
from collections.abc import Callable

from remit.kernel import proc
from remit.kernel.seccomp import Question
from remit.supervisor import nested
from remit.supervisor.answers import Answer, Desk, Fail, Proceed, Return, record_refusal
from remit.supervisor.observing import uncovered
from remit.supervisor.processes import Process

# clone(2), unshare(2): every namespace flag, and CLONE_PARENT, which would give the child another parent than its own.
CLONE_NEW = 0x02000000 | 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00000080
CLONE_NEWCGROUP = 0x02000000
CLONE_PARENT, CLONE_THREAD, CLONE_FILES = 0x00008000, 0x00010000, 0x00000400
_LOW = 0xFFFFFFFF
_PR_SET_DUMPABLE = 4
_PRIO_PROCESS = 0
_IOPRIO_WHO_PROCESS = 1

_DESCRIPTORS_CLAUSE = "the threads of a process share one table of descriptors"
_CAPACITY_CLAUSE = "the supervisor's descriptors (ulimit -n) are enough for {} processes"
_CALL_CLAUSE = "no grant names this system call"
_SANDBOX_CALLS = ("mount", "umount2", "pivot_root", "chroot", "setns", "fsopen", "move_mount", "open_tree")


def create_process(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """fork, vfork, and clone that makes a process: allowed within processes.at-most and without namespaces."""
    flags = question.arguments[0] & _LOW if name == "clone" else signal.SIGCHLD
    # 0x80 is CLONE_NEWTIME only for unshare and clone3; here it is the exit signal.
    if not _may_have_namespaces(desk, flags & (CLONE_NEW & ~0x80)):
        return _refuse_sandbox(desk, process, question, name)
    if flags & CLONE_THREAD and not flags & (CLONE_FILES | CLONE_PARENT):
        return record_refusal(desk, "privilege", process, name, question, errno.EPERM, _DESCRIPTORS_CLAUSE)
    if flags & CLONE_PARENT:
        return record_refusal(desk, "privilege", process, name, question, errno.EPERM, _CALL_CLAUSE)
    if desk.is_over(process):
        clause = f"phases.{process.phase}.survivors"
        return record_refusal(desk, "privilege", process, name, question, errno.EAGAIN, clause, wall="processes")
    at_most, capacity = desk.plan.limits.processes, desk.processes.capacity
    if desk.processes.expected() >= min(capacity, at_most or capacity):
        desk.processes.settle(process)
        desk.processes.forget_ended()
    expected = desk.processes.expected()
    if expected >= capacity:
        clause = _CAPACITY_CLAUSE.format(capacity)
        return record_refusal(desk, "privilege", process, name, question, errno.EAGAIN, clause, wall="processes")
    if at_most is not None and expected >= at_most:
        lacking = uncovered(desk.plan, "processes.at-most", wall="processes", error=errno.EAGAIN)
        arguments = list(question.arguments)
        desk.record("privilege", process=process.identity, operation=name, arguments=arguments, **lacking)
        if lacking["refused"]:
            return Fail(errno.EAGAIN)
    process.pending_forks += 1
    return Proceed()


def exit_process(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """Before a process goes, meet its children and note what it used."""
    process.exit_status = (question.arguments[0] & 0xFF) << 8
    # Whoever wants to go may, also when it cannot be read any more: libc has no answer to an exit that fails.
    with contextlib.suppress(OSError):
        if process.pending_forks:
            desk.processes.adopt_children(process)
            process.pending_forks = 0
        process.cpu = proc.read_stat(process.pid).cpu
    return Proceed()


def set_process_option(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """PR_SET_DUMPABLE succeeds without effect, for a process that cannot be read cannot be watched; agents and keys
    rings set it in good faith. PR_SET_CHILD_SUBREAPER would hide whose child an orphan is."""
    if question.arguments[0] & _LOW == _PR_SET_DUMPABLE:
        return Proceed() if question.arguments[1] == 1 else Return(0)
    return record_refusal(desk, "privilege", process, name, question, errno.EPERM, _CALL_CLAUSE)


def leave_namespaces(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """unshare: fine for what a process shares with its threads; namespaces only where the scope lets them be."""
    if not _may_have_namespaces(desk, question.arguments[0] & CLONE_NEW):
        return _refuse_sandbox(desk, process, question, name)
    if question.arguments[0] & CLONE_FILES:
        return split_descriptors(desk, process, question, name)
    return Proceed()


def split_descriptors(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """close_range and unshare that give a thread descriptors of its own: fine where it is the only one.

    Else /proc/PID/fd, which is the first thread's, would not tell what a process holds: a shell could hide its ear.
    """
    if proc.read_stat(process.pid).threads > 1:
        return record_refusal(desk, "privilege", process, name, question, errno.EPERM, _DESCRIPTORS_CLAUSE)
    return Proceed()


def change_root(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """chroot: a sandbox shuts itself out of the file system by it. Landlock holds whatever the root is."""
    if nested.allows_namespaces(desk.plan.scope):
        return Proceed()
    return refuse(desk, process, question, name)


def mount(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """All that changes mounts: a sandbox puts its own root together. It needs a user namespace made inside, and there
    the kernel lets nothing be lifted, moved or loosened that came from the session's view."""
    if nested.allows_mounts(desk.plan.scope):
        return Proceed()
    return refuse(desk, process, question, name)


def _may_have_namespaces(desk: Desk, flags: int) -> bool:
    """Whoever has a cgroup namespace and may mount can mount the cgroups that it begins at, and rule the session."""
    if not flags:
        return True
    scope = desk.plan.scope
    return nested.allows_namespaces(scope) and not (flags & CLONE_NEWCGROUP and nested.allows_mounts(scope))


def _refuse_sandbox(desk: Desk, process: Process, question: Question, name: str, error: int = errno.EPERM) -> Answer:
    clause = nested.clause(process, desk.plan.scope)
    return record_refusal(desk, "privilege", process, name, question, error, clause)


def act_on_process(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """Calls that change another process's limits or scheduling: only among the session's own processes."""
    which, target = question.arguments[0] & _LOW, question.arguments[0] & _LOW
    if name in ("setpriority", "ioprio_set"):
        target = question.arguments[1] & _LOW
        single = _PRIO_PROCESS if name == "setpriority" else _IOPRIO_WHO_PROCESS
        if which != single:
            return record_refusal(desk, "signal", process, name, question, errno.EPERM, _CALL_CLAUSE, target=target)
    if target == 0 or desk.processes.is_ours(target):
        return Proceed()
    return record_refusal(desk, "signal", process, name, question, errno.EPERM, _CALL_CLAUSE, target=target)


def refuse(desk: Desk, process: Process, question: Question, name: str) -> Answer:
    """Everything else that became a question: no scope can grant it."""
    error = {
        # What is not there cannot be waited for: libraries that find these missing go on without them.
        "io_uring_setup": errno.ENOSYS,
        "io_uring_enter": errno.ENOSYS,
        "io_uring_register": errno.ENOSYS,
    }.get(name, errno.EPERM)
    if name == "seccomp":
        # What the kernel says of a second listener, which is what a sandbox in a sandbox has to expect.
        return _refuse_sandbox(desk, process, question, name, errno.EBUSY)
    if name in _SANDBOX_CALLS and nested.known_switch(process) is not None:
        return _refuse_sandbox(desk, process, question, name, error)
    return record_refusal(desk, "privilege", process, name, question, error, _CALL_CLAUSE)


_MOUNT_CALLS = (
    *("mount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount"),
    *("open_tree", "open_tree_attr", "mount_setattr"),
)

Handler = Callable[[Desk, Process, Question, str], Answer]

HANDLERS: dict[str, Handler] = {
    "fork": create_process,
    "vfork": create_process,
    "clone": create_process,
    "exit_group": exit_process,
    "prctl": set_process_option,
    "unshare": leave_namespaces,
    "chroot": change_root,
    **dict.fromkeys(_MOUNT_CALLS, mount),
    "close_range": split_descriptors,
    **dict.fromkeys(
        (
            "prlimit64",
            "sched_setaffinity",
            "sched_setscheduler",
            "sched_setparam",
            "sched_setattr",
            "setpriority",
            "ioprio_set",
        ),
        act_on_process,
    ),
}
