"""What one question costs the program that asks it, measured from inside: the time of single calls.

python questions.py CALL TIMES: prints the time of each call in microseconds, one a line
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable


def _nothing() -> None:
    os.getppid()


def _connect() -> None:
    with socket.socket() as end:
        end.connect_ex(("127.0.0.1", 9))


def _open_to_write() -> None:
    os.close(os.open("written", os.O_WRONLY | os.O_CREAT, 0o600))


def _open_to_read() -> None:
    os.close(os.open("/etc/hostname", os.O_RDONLY))


def _spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


CALLS: dict[str, tuple[Callable[[], None], int]] = {
    "getppid": (_nothing, 20_000),
    "open to read": (_open_to_read, 5_000),
    "open to write": (_open_to_write, 3_000),
    "refused connect": (_connect, 2_000),
    "spawn /bin/true": (_spawn, 200),
}


def main(name: str) -> None:
    call, times = CALLS[name]
    clock = time.perf_counter_ns
    taken = []
    for _ in range(times):
        begin = clock()
        call()
        taken.append(clock() - begin)
    print("\n".join(str(nanoseconds) for nanoseconds in taken))


if __name__ == "__main__":
    main(sys.argv[1])
