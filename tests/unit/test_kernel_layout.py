"""Every number and layout that remit.kernel states is what the kernel's own headers say, as a C compiler reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from remit.kernel import landlock, libc, ptrace, seccomp, tcp_diag
from remit.kernel.syscalls import NUMBERS

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: apt install gcc")

INCLUDES = (
    "stddef.h",
    "stdio.h",
    "sys/ioctl.h",
    "sys/ptrace.h",
    "sys/syscall.h",
    "linux/landlock.h",
    "linux/seccomp.h",
    "linux/tcp.h",
    "linux/inet_diag.h",
    "sched.h",
)

CONSTANTS = {
    "SECCOMP_IOCTL_NOTIF_RECV": seccomp.NOTIF_RECV,
    "SECCOMP_IOCTL_NOTIF_SEND": seccomp.NOTIF_SEND,
    "SECCOMP_IOCTL_NOTIF_ID_VALID": seccomp.NOTIF_ID_VALID,
    "SECCOMP_IOCTL_NOTIF_ADDFD": seccomp.NOTIF_ADDFD,
    "sizeof(struct seccomp_notif_addfd)": seccomp._ADDED.size,
    "SECCOMP_RET_USER_NOTIF": seccomp.RET_USER_NOTIF,
    "sizeof(struct seccomp_notif)": seccomp._NOTIFICATION.size,
    "sizeof(struct seccomp_notif_resp)": seccomp._RESPONSE.size,
    "offsetof(struct seccomp_notif, data)": 16,
    "SYS_seccomp": libc.SYS_SECCOMP,
    "SYS_tgkill": libc.SYS_TGKILL,
    "SYS_pidfd_open": libc.SYS_PIDFD_OPEN,
    "SYS_pidfd_getfd": libc.SYS_PIDFD_GETFD,
    "SYS_pidfd_send_signal": libc.SYS_PIDFD_SEND_SIGNAL,
    "SYS_landlock_create_ruleset": libc.SYS_LANDLOCK_CREATE_RULESET,
    "SYS_landlock_add_rule": libc.SYS_LANDLOCK_ADD_RULE,
    "SYS_landlock_restrict_self": libc.SYS_LANDLOCK_RESTRICT_SELF,
    "LANDLOCK_ACCESS_FS_EXECUTE": landlock.EXECUTE,
    "LANDLOCK_ACCESS_FS_WRITE_FILE": landlock.WRITE_FILE,
    "LANDLOCK_ACCESS_FS_READ_FILE": landlock.READ_FILE,
    "LANDLOCK_ACCESS_FS_READ_DIR": landlock.READ_DIR,
    "LANDLOCK_ACCESS_FS_REMOVE_DIR": landlock.REMOVE_DIR,
    "LANDLOCK_ACCESS_FS_REMOVE_FILE": landlock.REMOVE_FILE,
    "LANDLOCK_ACCESS_FS_MAKE_CHAR": landlock.MAKE_CHAR,
    "LANDLOCK_ACCESS_FS_MAKE_DIR": landlock.MAKE_DIR,
    "LANDLOCK_ACCESS_FS_MAKE_REG": landlock.MAKE_REG,
    "LANDLOCK_ACCESS_FS_MAKE_SOCK": landlock.MAKE_SOCK,
    "LANDLOCK_ACCESS_FS_MAKE_FIFO": landlock.MAKE_FIFO,
    "LANDLOCK_ACCESS_FS_MAKE_BLOCK": landlock.MAKE_BLOCK,
    "LANDLOCK_ACCESS_FS_MAKE_SYM": landlock.MAKE_SYM,
    "LANDLOCK_ACCESS_FS_REFER": landlock.REFER,
    "PTRACE_SEIZE": ptrace._SEIZE,
    "PTRACE_INTERRUPT": ptrace._INTERRUPT,
    "PTRACE_DETACH": ptrace._DETACH,
    "PTRACE_O_TRACEEXEC": ptrace._OPTION_TRACE_EXEC,
    "PTRACE_O_EXITKILL": ptrace._OPTION_EXIT_KILL,
    "PTRACE_EVENT_EXEC": ptrace.EVENT_EXEC,
    "sizeof(struct inet_diag_req_v2)": tcp_diag._REQUEST.size + tcp_diag._SOCKET.size,
    "sizeof(struct inet_diag_msg)": tcp_diag._ANSWER_SIZE,
    "offsetof(struct inet_diag_msg, idiag_uid)": tcp_diag._USER_OFFSET,
    "offsetof(struct inet_diag_msg, idiag_inode)": tcp_diag._USER_OFFSET + 4,
    "offsetof(struct tcp_info, tcpi_bytes_acked)": tcp_diag.BYTES_ACKED_OFFSET,
    "offsetof(struct tcp_info, tcpi_bytes_received)": tcp_diag.BYTES_ACKED_OFFSET + 8,
}


def test_constants_and_layouts_are_the_kernels(tmp_path: Path) -> None:
    found = evaluate(tmp_path, list(CONSTANTS))
    missing = [name for name in CONSTANTS if name not in found]
    # Headers older than a constant lack it; most must be there for the test to mean something.
    assert len(missing) <= 6, missing
    assert {name: CONSTANTS[name] for name in found} == found


def test_system_call_numbers_are_the_kernels(tmp_path: Path) -> None:
    column = 0 if libc.MACHINE == "x86_64" else 1
    known = {f"__NR_{name}": numbers[column] for name, numbers in NUMBERS.items() if numbers[column] is not None}
    found = evaluate(tmp_path, list(known))
    assert len(found) > 80
    assert {name: known[name] for name in found} == found


def test_the_generic_table_is_the_kernels() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("no kernel headers: apt install linux-libc-dev")
    generic = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
        if name in NUMBERS
    }
    assert len(generic) > 70
    assert {name: NUMBERS[name][1] for name in generic} == generic


def test_every_right_of_an_abi_is_handled() -> None:
    assert landlock.handled_file_rights(1) == (1 << 13) - 1
    assert landlock.handled_file_rights(2) == (1 << 14) - 1
    assert landlock.handled_file_rights(3) == (1 << 15) - 1
    assert landlock.handled_file_rights(7) == (1 << 16) - 1


def evaluate(directory: Path, expressions: list[str]) -> dict[str, int]:
    """Compile and run a program that prints each expression; those that the headers lack are left out."""
    prelude = "".join(f"#include <{name}>\n" for name in INCLUDES)
    present = [e for e in expressions if not e.isidentifier() or is_defined(directory, prelude, e)]
    lines = "".join(f'printf("%s=%lld\\n", "{e}", (long long)({e}));\n' for e in present)
    source = directory / "numbers.c"
    source.write_text(f"{prelude}int main(void) {{ {lines} return 0; }}\n")
    program = directory / "numbers"
    subprocess.run(["cc", "-o", program, source], check=True, capture_output=True, text=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, _, value in (line.rpartition("=") for line in output.splitlines())}


_macros: dict[str, frozenset[str]] = {}


def is_defined(directory: Path, prelude: str, name: str) -> bool:
    """Whether the headers define the macro, or declare it as an enumerator."""
    if prelude not in _macros:
        source = directory / "macros.c"
        source.write_text(prelude)
        macros = subprocess.run(["cc", "-E", "-dM", source], check=True, capture_output=True, text=True).stdout
        text = subprocess.run(["cc", "-E", source], check=True, capture_output=True, text=True).stdout
        _macros[prelude] = frozenset(re.findall(r"#define (\w+)", macros)) | frozenset(
            re.findall(r"\b(PTRACE_\w+)\s*=", text)
        )
    return name in _macros[prelude]
