"""Attempts to run what the scope does not let run: memory, loaders, programs of root's."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

from remit.attempts.attempt import Act, Attempt, GotThrough, Outside, Skip
from remit.kernel import raw

_EMPTY_PATH = 0x1000
_PROGRAM = "/bin/true"
# Named one by one: the directory that /lib64 lies in cannot be listed from inside.
_LOADERS = (
    *("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"),
    *("/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"),
)


def _program_in_memory() -> int:
    descriptor = os.memfd_create("program", 0)
    with open(_PROGRAM, "rb") as file:
        os.write(descriptor, file.read())
    return descriptor


def _ends(act: Callable[[], object]) -> None:
    """Do the act in a child: raises EACCES when it was killed or could not run, GotThrough when its program ran."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except OSError as problem:
            os._exit(100 + (problem.errno or 0) % 100)
        os._exit(99)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == -signal.SIGKILL:
        raise OSError(errno.EACCES, "killed before its first instruction")
    if status >= 100:
        raise OSError(status - 100, os.strerror(status - 100))
    raise GotThrough(f"it ran and ended with status {status}")


def _by_path(outside: Outside) -> None:
    descriptor = _program_in_memory()
    _ends(lambda: os.execv(f"/proc/self/fd/{descriptor}", ["program"]))


def _by_descriptor(outside: Outside) -> None:
    descriptor = _program_in_memory()
    arguments = raw.Memory(raw.Memory(b"x\0").address.to_bytes(8, "little") + bytes(8))
    nothing = raw.Memory(bytes(8))
    _ends(lambda: raw.call("execveat", descriptor, b"", arguments, nothing, _EMPTY_PATH))


def _loader(argument: Callable[[Outside], str]) -> Act:
    def act(outside: Outside) -> None:
        found = [path for path in _LOADERS if os.path.exists(path)]
        if not found:
            raise Skip("no dynamic loader was found")
        _ends(lambda: os.execv(found[0], [found[0], argument(outside)]))

    return act


ATTEMPTS = (
    Attempt("memory-by-path", "images", "run a program that is no file", "memfd_create, execve", _by_path),
    Attempt("memory-by-descriptor", "images", "run a program that is no file", "memfd_create, execveat",
            _by_descriptor),
    Attempt("loader-outside", "images", "have the loader run what no grant covers", "execve of ld.so",
            _loader(lambda o: f"{o.directory}/true")),
    Attempt("loader", "images", "have the loader run a program unseen", "execve of ld.so", _loader(lambda o: _PROGRAM)),
)  # fmt: skip
