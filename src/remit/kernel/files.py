"""What a file is asked for beyond reading and writing: space set aside before it is needed, and its flags."""

from __future__ import annotations

import ctypes
import fcntl

from remit.kernel.libc import libc_call

_FALLOC_FL_KEEP_SIZE = 0x01


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Set space aside (fallocate(2)) without changing the file's size, so that a reader sees only what was written.

    Raises OSError: ENOSPC or EDQUOT when there is none, EOPNOTSUPP when the file system cannot do it.
    """
    libc_call(
        "fallocate",
        descriptor,
        _FALLOC_FL_KEEP_SIZE,
        ctypes.c_int64(offset),
        ctypes.c_int64(length),
        what="fallocate",
    )


def set_flags(descriptor: int, flags: int, among: int) -> None:
    """Set those of the flags that are `among` the changing ones (fcntl(2) F_SETFL); raises OSError."""
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, (before & ~among) | (flags & among))
