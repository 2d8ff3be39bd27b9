"""Removes a whole tree however deep it is, by descriptors alone: what the agent left there may be anything.

`shutil` would recurse, and loads compression libraries; nothing may be loaded once the agent has run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any


def remove_tree(path: str) -> None:
    """What cannot be removed stays, without an error. Takes time in proportion to the number of names in the tree.

    A directory within a directory is moved up before it is emptied, so that two are open at most.
    """
    try:
        top = _open(path)
    except OSError:
        return
    try:
        unused = os.urandom(8).hex()
        names = (f"{unused}-{number}" for number in count())
        changed = True
        while changed:
            changed = False
            for name in os.listdir(top):
                changed = _remove(name, top, names) or changed
    except OSError:
        pass
    finally:
        os.close(top)
    _done(os.rmdir, path)


def _remove(name: str, top: int, names: Iterator[str]) -> bool:
    """Remove a name, or what lies in it; whether anything was done."""
    if _done(os.unlink, name, dir_fd=top) or _done(os.rmdir, name, dir_fd=top):
        return True
    try:
        directory = _open(name, top)
    except OSError:
        return False
    try:
        changed = [
            _done(os.unlink, inner, dir_fd=directory)
            or _done(os.rmdir, inner, dir_fd=directory)
            or _move_up(inner, next(names), directory, top)
            for inner in os.listdir(directory)
        ]
    except OSError:
        return False
    finally:
        os.close(directory)
    return _done(os.rmdir, name, dir_fd=top) or any(changed)


def _move_up(name: str, new: str, directory: int, top: int) -> bool:
    # To move a directory is to write into it, for its `..` (rename(2)).
    return _done(os.chmod, name, 0o700, dir_fd=directory) and _done(
        os.rename, name, new, src_dir_fd=directory, dst_dir_fd=top
    )


def _open(name: str, directory: int | None = None) -> int:
    """A directory, opened up for its owner. Nobody of the agent's is left who could put a link in its place."""
    if stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
        os.chmod(name, 0o700, dir_fd=directory)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def _done(act: Callable[..., Any], *arguments: Any, **more: Any) -> bool:
    try:
        act(*arguments, **more)
    except OSError:
        return False
    return True
