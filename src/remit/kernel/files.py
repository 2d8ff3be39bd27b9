"""What a file is asked for beyond reading and writing: space that is set aside before it is needed (fallocate(2))."""

from __future__ import annotations

import ctypes

from remit.kernel.libc import libc_call

_FALLOC_FL_KEEP_SIZE = 0x01


def allocate(descriptor: int, offset: int, length: int) -> None:
    """Set space aside without changing the file's size, so that a reader sees only what was written.

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
