"""Sees when a mask has come off and puts it back: what replaces a file outside takes the mounts on it away everywhere.

Nothing inside the boundary can do that, but an editor or git outside may, in good faith: since Linux 3.18 a mount point
can be removed or replaced from another mount namespace, and then is one no longer. Looked at once a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from remit.boundary import mask_mounts
from remit.boundary.launch import Boundary
from remit.boundary.mask_mounts import Cover
from remit.plan import Mask


class MaskWatch:
    """The masks of one session. `placeholders`: what was made to put some back, for the end of the session."""

    def __init__(
        self,
        masks: tuple[Mask, ...],
        temporary_directory: str,
        boundary: Boundary,
        record: Callable[..., Any],
    ) -> None:
        self._masks = masks if boundary.namespaces else ()
        self._temporary_directory = temporary_directory
        self._boundary = boundary
        self._record = record
        self.placeholders: list[str] = []

    def check(self) -> str | None:
        """Put back what has come off; the path of a mask that could not be, or None."""
        if not self._masks:
            return None
        path = self._masks[0].path
        try:
            present = mask_mounts.mount_points(self._boundary.zygote)
            self.placeholders += mask_mounts.make_placeholders(self._masks, self._temporary_directory)
            wanted = mask_mounts.lay_out(self._masks, self._temporary_directory)
            fallen = tuple(cover for cover in wanted if cover.path not in present)
            if not fallen:
                return None
            path = fallen[0].path
            restored = self._put_back(fallen)
        except OSError as problem:
            path = problem.filename or path
            restored, fallen = False, (Cover(path, ""),)
        self._record(
            "loss",
            **{"class": "mask"},
            count=len(fallen),
            reason=f"replaced from outside, {'covered again' if restored else 'and not to be covered again'}: "
            + " ".join(cover.path for cover in fallen),
        )
        return None if restored else path

    def _put_back(self, fallen: tuple[Cover, ...]) -> bool:
        """In a child, because whoever enters other namespaces does not come back."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                mask_mounts.put_back(fallen, *self._boundary.namespaces)
                status = 0
            finally:
                os._exit(status)
        return os.waitpid(pid, 0)[1] == 0
