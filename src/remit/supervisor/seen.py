"""What has been recorded once and need not be again: for as long as a process runs one program within one step."""

from __future__ import annotations


class Seen:
    """Grows with the live processes and their grants, and with nothing else."""

    def __init__(self) -> None:
        self._keys: dict[str, set[str]] = {}

    def first(self, process: str, key: str) -> bool:
        """Whether this is the first time."""
        keys = self._keys.setdefault(process, set())
        if key in keys:
            return False
        keys.add(key)
        return True

    def recorded(self, kind: str, process: str | None) -> None:
        """A record of this kind was written: another program, another step, or an end begins it all anew."""
        if kind == "step":
            self._keys.clear()  # a shell that lives on may now be doing something else
        elif kind in ("exec", "exit") and process is not None:
            self._keys.pop(process, None)
