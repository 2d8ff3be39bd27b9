"""Any system call by its name, with whatever is in the registers: for who tries what a wall must refuse."""

from __future__ import annotations

import ctypes
import os

from remit.kernel.libc import MACHINE
from remit.kernel.syscalls import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# What no filter asks about and an attempt still needs: (x86-64, the generic table).
_MORE_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "get_robust_list": (274, 100),
    "name_to_handle_at": (303, 264),
    "pidfd_open": (434, 434),
    "renameat2": (316, 276),
}
_COLUMN = 0 if MACHINE == "x86_64" else 1


class Memory:
    """Bytes at an address, for a call to read or write."""

    def __init__(self, content: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(content, len(content))
        self.address = ctypes.addressof(self._buffer)

    @property
    def content(self) -> bytes:
        return self._buffer.raw


def number(name: str) -> int | None:
    """The call's number on this machine, None when it has none here."""
    return (NUMBERS.get(name) or _MORE_NUMBERS[name])[_COLUMN]


def call(name: str, *arguments: int | bytes | Memory | None) -> int:
    """Make one system call; bytes are passed by address. Raises OSError when it fails."""
    found = number(name)
    if found is None:
        raise OSError(38, f"{name}: no such call on {MACHINE}")
    kept = [Memory(a + b"\0") if isinstance(a, bytes) else a for a in arguments]
    words = [ctypes.c_long(a.address if isinstance(a, Memory) else a or 0) for a in kept]
    result: int = _libc.syscall(ctypes.c_long(found), *words)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def execute(code: bytes) -> int:
    """Run machine code that ends by returning; the answer is what it leaves in the result register."""
    import mmap  # what no start needs does not make it slower

    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    result: int = ctypes.CFUNCTYPE(ctypes.c_long)(address)()
    return result
