"""Where `--report` goes: chosen before the agent starts, so that nothing the agent puts there is followed or opened.

The directory is held from before the start, and the report is a new file in it that takes the name at the end. A link,
a pipe or a file that lies there by then is replaced, never opened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from remit.errors import UsageError

_HINT = "name a file in a directory that you can write, such as --report ~/report.json"


class ReportPlace:
    """A place for one report. Raises UsageError when there is none under this name."""

    def __init__(self, path: Path, workspace: Path) -> None:
        self.path = path
        parent = Path(os.path.abspath(path.parent))
        try:
            self._directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=self._directory):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            kind = _kind(path.name, self._directory)
        except OSError as problem:
            raise UsageError(f"cannot write the report into {parent}: {problem.strerror}", hint=_HINT) from problem
        _refuse_link_out(parent, Path(os.readlink(f"/proc/self/fd/{self._directory}")), workspace)
        if not path.name or kind not in (0, stat.S_IFREG):
            raise UsageError(f"the report must be a file of its own: {path}", hint=_HINT)

    def write(self, text: str) -> None:
        """Put the report there. Raises OSError."""
        name = f".remit-report-{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o666, dir_fd=self._directory), "w", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
                os.rename(name, self.path.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            except OSError:
                os.unlink(name, dir_fd=self._directory)
                raise


def _refuse_link_out(parent: Path, real: Path, workspace: Path) -> None:
    """What lies in the workspace may have been put there by an earlier session."""
    if parent.is_relative_to(os.path.abspath(workspace)) and not real.is_relative_to(os.path.realpath(workspace)):
        raise UsageError(f"a link leads the report out of the workspace: {parent} -> {real}", hint=_HINT)


def _kind(name: str, directory: int) -> int:
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0
