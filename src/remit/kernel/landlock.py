"""Landlock (landlock(7)): build a ruleset from paths, ports and scopes, and restrict the calling thread with it.

Rights are named for the kernel's LANDLOCK_ACCESS_* constants (include/uapi/linux/landlock.h). A ruleset handles every
right that the running ABI has, so that nothing is left open because we did not know it was asked for.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from remit.kernel.libc import (
    SYS_LANDLOCK_ADD_RULE,
    SYS_LANDLOCK_CREATE_RULESET,
    SYS_LANDLOCK_RESTRICT_SELF,
    libc_call,
    system_call,
)

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13  # ABI 2
TRUNCATE = 1 << 14  # ABI 3
IOCTL_DEV = 1 << 15  # ABI 5

CONNECT_TCP = 1 << 1  # ABI 4
BIND_TCP = 1 << 0

SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0  # ABI 6
SCOPE_SIGNAL = 1 << 1

READ = READ_FILE | READ_DIR
# Device nodes (MAKE_CHAR, MAKE_BLOCK) are in no grant: an agent never makes one.
WRITE = (
    WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE
    | IOCTL_DEV
)
# The only rights the kernel accepts on a rule for something that is not a directory.
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2
_CREATE_RULESET_VERSION = 1
_PR_SET_NO_NEW_PRIVS = 38


def abi() -> int:
    """The Landlock ABI of the running kernel, 0 when it is absent or disabled at boot."""
    try:
        return system_call(
            SYS_LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION, what="landlock_create_ruleset"
        )
    except OSError:
        return 0


def handled_file_rights(abi_version: int) -> int:
    """Every file-system right that this ABI knows."""
    rights = (1 << 13) - 1
    if abi_version >= 2:
        rights |= REFER
    if abi_version >= 3:
        rights |= TRUNCATE
    if abi_version >= 5:
        rights |= IOCTL_DEV
    return rights


def create_ruleset(*, files: int = 0, network: int = 0, scopes: int = 0, abi_version: int) -> int:
    """A ruleset descriptor that handles the given rights; those the ABI lacks must not be asked for."""
    if abi_version >= 6:
        attributes = struct.pack("=QQQ", files, network, scopes)
    elif abi_version >= 4:
        attributes = struct.pack("=QQ", files, network)
    else:
        attributes = struct.pack("=Q", files)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return system_call(SYS_LANDLOCK_CREATE_RULESET, buffer, len(attributes), 0, what="landlock_create_ruleset")


def allow_path(ruleset: int, path: str, rights: int) -> None:
    """Allow `rights` beneath `path`; rights that only fit directories are left out for other files.

    Raises OSError when the path cannot be opened or the rule is refused.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        if not rights:
            return
        attributes = struct.pack("=Qi", rights, descriptor)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        system_call(SYS_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, buffer, 0, what=f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def allow_port(ruleset: int, port: int, rights: int) -> None:
    """Allow `rights` (CONNECT_TCP, BIND_TCP) on a TCP port."""
    attributes = struct.pack("=QQ", rights, port)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    system_call(SYS_LANDLOCK_ADD_RULE, ruleset, _RULE_NET_PORT, buffer, 0, what=f"landlock_add_rule port {port}")


def restrict_self(ruleset: int) -> None:
    """Put the calling thread, and all it will create, under the ruleset; needs no_new_privs."""
    system_call(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")


def set_no_new_privileges() -> None:
    """No exec can raise privileges any more (PR_SET_NO_NEW_PRIVS(2const)); Landlock and seccomp ask for it."""
    libc_call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, what="prctl PR_SET_NO_NEW_PRIVS")
