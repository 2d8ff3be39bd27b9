"""Cuts files for the agent where Landlock has no right for it: who may write a file may cut it, and nobody else.

It is done by opening for writing, which Landlock refuses outside the grants, beneath the deputy's layer and mounts.
"""

from __future__ import annotations

import errno
import os
import stat

from remit.protocol import Message


def truncate(request: Message) -> Message:
    """{path, length}: as truncate(2). The reply is {errno}."""
    try:
        held = os.open(os.fsencode(request["path"]), os.O_PATH | os.O_CLOEXEC)
        try:
            _cut(held, int(request["length"]))
        finally:
            os.close(held)
    except OSError as problem:
        return {"errno": problem.errno or errno.EIO}
    return {"errno": 0}


def _cut(held: int, length: int) -> None:
    mode = os.fstat(held).st_mode
    if not stat.S_ISREG(mode):  # to open something else for writing may have effects of its own, or wait
        error = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(error, os.strerror(error))
    file = os.open(f"/proc/self/fd/{held}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.ftruncate(file, length)
    finally:
        os.close(file)
