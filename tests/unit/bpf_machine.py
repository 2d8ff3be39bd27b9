"""Runs a seccomp filter as the kernel would: a classic BPF machine over struct seccomp_data."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ALLOW, NOTIFY, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x7FC00000, 0x80000000, 0x00050000
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}

_LOAD, _LOAD_IMMEDIATE, _STORE, _ALU_AND, _RETURN, _RETURN_ACCUMULATOR = 0x20, 0x00, 0x02, 0x54, 0x06, 0x16
_LOAD_MEMORY, _JUMP, _EQUAL, _GREATER, _GREATER_EQUAL, _SET = 0x60, 0x05, 0x15, 0x25, 0x35, 0x45

Instruction = tuple[int, int, int, int]


def decode(program: bytes) -> list[Instruction]:
    return list(struct.iter_unpack("=HBBI", program))


def verdict(program: Sequence[Instruction], number: int, arguments: Sequence[int] = (), machine: str = "x86_64") -> int:
    """The filter's answer to one system call."""
    registers = [argument & 0xFFFFFFFFFFFFFFFF for argument in [*arguments, 0, 0, 0, 0, 0, 0][:6]]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT_ARCH[machine], 0, *registers)
    accumulator, counter, memory = 0, 0, [0] * 16
    while True:
        code, true, false, k = program[counter]
        counter += 1
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == _LOAD_IMMEDIATE:
            accumulator = k
        elif code == _LOAD_MEMORY:
            accumulator = memory[k]
        elif code == _STORE:
            memory[k] = accumulator
        elif code == _ALU_AND:
            accumulator &= k
        elif code == _JUMP:
            counter += k
        elif code == _EQUAL:
            counter += true if accumulator == k else false
        elif code == _GREATER:
            counter += true if accumulator > k else false
        elif code == _GREATER_EQUAL:
            counter += true if accumulator >= k else false
        elif code == _SET:
            counter += true if accumulator & k else false
        elif code == _RETURN:
            return k
        elif code == _RETURN_ACCUMULATOR:
            return accumulator
        else:
            raise AssertionError(f"unknown instruction: {code:#x}")
