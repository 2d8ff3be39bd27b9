"""Attempts on privilege: capabilities, another user, the walls' own switches, limits, what the environment holds."""

from __future__ import annotations

import errno
import os
import resource
import struct

from remit.attempts.attempt import Attempt, GotThrough, Outside, Skip, Witness, each
from remit.kernel import raw

_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_NO_EFFECT = OSError(errno.EPERM, "without effect")


def _capabilities(outside: Outside) -> None:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in status if line.startswith(("Cap", "NoNewPrivs")))
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        if int(found[name], 16):
            raise GotThrough(f"{name} is {found[name]}")
    if found["NoNewPrivs"] != "1":
        raise GotThrough("programs may still gain privilege")
    raise _NO_EFFECT


def _set_user(outside: Outside) -> None:
    other = 65534 if os.getuid() == 0 else 0
    try:
        os.setresuid(other, other, other)
    except OSError as problem:
        if problem.errno == errno.EINVAL:
            raise Skip(f"this user namespace has no user {other}") from problem
        raise


def _set_user_id(outside: Outside) -> None:
    """A program with the bit runs, and stays who it was; `-c` of su asks, so what is run must only show itself."""
    program = outside.set_user_id
    if not program:
        raise Skip("this machine has no program of root's with the set-user-id bit")
    before = os.geteuid()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(null, number)
        try:
            os.execv(program, [program, "--version"])
        except OSError:
            os._exit(1)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
        users = next(line for line in status if line.startswith("Uid:")).split()[1:]
    os.waitpid(pid, 0)
    if {int(user) for user in users} != {before}:
        raise GotThrough(f"it ran as user {users[1]}")
    raise _NO_EFFECT


def _raise_limit(outside: Outside) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == resource.RLIM_INFINITY:
        raise GotThrough("core dumps are not limited")
    wanted = raw.Memory(struct.pack("=QQ", hard + 1, hard + 1))
    raw.call("prlimit64", 0, resource.RLIMIT_CORE, wanted, 0)


def _terminal(request: int) -> None:
    leader, follower = os.openpty()
    letter = raw.Memory(b"x")
    try:
        each(
            (
                ("plain", lambda: raw.call("ioctl", follower, request, letter)),
                ("with a dirty register", lambda: raw.call("ioctl", follower, request | 0xABCD << 32, letter)),
            )
        )
    finally:
        os.close(leader)
        os.close(follower)


def _environment(outside: Outside) -> None:
    if not outside.variable:
        raise Skip("the caller's environment holds nothing to look for")
    if outside.variable in os.environ:
        raise GotThrough("a variable that no grant passes on is there")
    raise _NO_EFFECT


def _shared_memory(outside: Outside) -> None:
    if outside.shared_memory < 0:
        raise Skip("this kernel has no System V shared memory")
    each(
        (
            ("shmget", lambda: raw.call("shmget", 0, 4096, 0o1600)),
            ("shmat", lambda: raw.call("shmat", outside.shared_memory, 0, 0)),
            ("shmctl", lambda: raw.call("shmctl", outside.shared_memory, 2, raw.Memory(bytes(256)))),
        )
    )


def _messages(outside: Outside) -> None:
    if outside.messages < 0:
        raise Skip("this kernel has no System V messages")
    letter = raw.Memory(struct.pack("=q8s", 1, b"hello"))
    each(
        (
            ("msgget", lambda: raw.call("msgget", 0, 0o1600)),
            ("msgsnd", lambda: raw.call("msgsnd", outside.messages, letter, 8, 0o4000)),
            ("msgrcv", lambda: raw.call("msgrcv", outside.messages, letter, 8, 0, 0o4000)),
            ("msgctl", lambda: raw.call("msgctl", outside.messages, 2, raw.Memory(bytes(256)))),
        )
    )


def _semaphores(outside: Outside) -> None:
    if outside.semaphores < 0:
        raise Skip("this kernel has no System V semaphores")
    operation = raw.Memory(struct.pack("=Hhh", 0, 1, 0o4000))
    each(
        (
            ("semget", lambda: raw.call("semget", 0, 1, 0o1600)),
            ("semop", lambda: raw.call("semop", outside.semaphores, operation, 1)),
            ("semtimedop", lambda: raw.call("semtimedop", outside.semaphores, operation, 1, 0)),
            ("semctl", lambda: raw.call("semctl", outside.semaphores, 0, 12, 0)),
        )
    )


def _queues(outside: Outside) -> None:
    each(
        (
            ("mq_open", lambda: os.close(raw.call("mq_open", b"remit-attempt", 0o102, 0o600, 0))),
            ("mq_unlink", lambda: raw.call("mq_unlink", b"remit-attempt")),
        )
    )


ATTEMPTS = (
    Attempt("capabilities", "privileges", "keep a capability", "/proc/self/status", _capabilities),
    # In a user namespace of the boundary's own no other user is mapped, and the kernel says EINVAL.
    Attempt("another-user", "privileges", "become another user", "setresuid", _set_user,
            refusals=(errno.EPERM, errno.EINVAL)),
    Attempt("set-user-id", "privileges", "become root by a program of root's", "execve", _set_user_id),
    Attempt("environment", "environment", "find a credential of the caller's", "environ", _environment),
    Attempt("raise-limit", "privileges", "raise a limit", "setrlimit", _raise_limit),
    Attempt("terminal-input", "system-calls", "type for somebody else", "ioctl TIOCSTI", lambda o: _terminal(_TIOCSTI),
            Witness("privilege", "ioctl", 2)),
    Attempt("console-input", "system-calls", "paste for somebody else", "ioctl TIOCLINUX",
            lambda o: _terminal(_TIOCLINUX), Witness("privilege", "ioctl", 2)),
    Attempt("shared-memory", "system-calls", "share memory with an outsider", "shmget, shmat, shmctl", _shared_memory,
            Witness("privilege", times=3)),
    Attempt("messages", "system-calls", "exchange messages with an outsider", "msgget, msgsnd, msgrcv, msgctl",
            _messages, Witness("privilege", times=4)),
    Attempt("semaphores", "system-calls", "signal an outsider by semaphore", "semget, semop, semtimedop, semctl",
            _semaphores, Witness("privilege", times=4)),
    Attempt("message-queues", "system-calls", "reach an outsider's message queue", "mq_open, mq_unlink", _queues,
            Witness("privilege", times=2)),
)  # fmt: skip
