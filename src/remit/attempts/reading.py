"""Every name by which a file might be read."""

from __future__ import annotations

import os
from collections.abc import Callable

from remit.attempts.attempt import GotThrough


def _read(path: str) -> None:
    with open(path, "rb") as file:
        raise GotThrough(f"read {len(file.read(64))} bytes of {path}")


def read_by(path: str) -> tuple[tuple[str, Callable[[], object]], ...]:
    """Every name by which a file might be read."""
    directory, _, name = path.rpartition("/")
    return (
        ("by its path", lambda: _read(path)),
        ("by dots", lambda: _read(os.path.relpath(path))),
        ("by the root of a process", lambda: _read(f"/proc/self/root{path}")),
        ("by a thread's root", lambda: _read(f"/proc/thread-self/root{path}")),
        ("from its directory", lambda: _by_directory(directory, name)),
        ("through a path-only descriptor", lambda: _by_descriptor(path)),
        ("through a link", lambda: _by_link(path)),
    )


def _by_directory(directory: str, name: str) -> None:
    holder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(os.open(name, os.O_RDONLY, dir_fd=holder))
    finally:
        os.close(holder)


def _by_descriptor(path: str) -> None:
    holder = os.open(path, os.O_PATH)
    try:
        _read(f"/proc/self/fd/{holder}")
    finally:
        os.close(holder)


def _by_link(path: str) -> None:
    os.symlink(path, "link")
    try:
        _read("link")
    finally:
        os.unlink("link")
