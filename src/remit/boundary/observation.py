"""What may be written while observing: every tree that holds nothing of remit's own, the widest scope there can be.

Landlock grants trees and takes nothing back, so the directories that lead to remit's own are left out, and each of
their other entries is granted by itself. What is made there later is not: a new name in such a directory is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from remit.kernel.paths import is_inside


def trees_around(places: tuple[str, ...]) -> Iterator[str]:
    """The largest trees and files that neither lie in one of these places nor hold one."""
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if any(is_inside(path, place) for place in places):
            continue
        if not any(is_inside(place, path) for place in places):
            yield path
            continue
        try:
            with os.scandir(path) as entries:
                # A link is opened through, and could lead to what is withheld; what it names is met on its own path.
                waiting += [entry.path for entry in entries if not entry.is_symlink()]
        except OSError:
            continue  # closed to us, and so to the agent
