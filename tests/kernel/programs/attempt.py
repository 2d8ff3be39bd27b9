"""For the attack programs: one act, its outcome as one JSON line on stdout. errno 0 means that the act succeeded."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def system_call(number: int, *arguments: Any) -> int:
    """A raw system call; raises OSError."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(act: Callable[..., Any], *arguments: Any) -> int:
    """The errno of the act, 0 when it worked."""
    try:
        act(*arguments)
    except OSError as problem:
        return problem.errno or -1
    return 0


def say(**members: Any) -> None:
    print(json.dumps(members), flush=True)


def main(acts: dict[str, Any]) -> None:
    """Do the act that the first argument names with the others, and print its errno and result."""
    act = acts[sys.argv[1]]
    try:
        say(errno=0, result=act(*sys.argv[2:]))
    except OSError as problem:
        say(errno=problem.errno or -1, result=None)
