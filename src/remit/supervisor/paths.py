"""Which grant covers a path: the nearest one above it, found in one look-up for each directory after the first time."""

from __future__ import annotations

from collections.abc import Iterable

from remit.plan import PathGrant

_REMEMBERED = 16384  # directories; then it begins anew


class PathTable:
    """Grants prepared for look-up by resolved path, with `$TMPDIR` replaced."""

    def __init__(self, grants: Iterable[PathGrant], temporary_directory: str) -> None:
        self._roots: dict[str, dict[str, str]] = {}  # path -> access -> clause
        for grant in grants:
            path = grant.path.replace("$TMPDIR", temporary_directory)
            clauses = self._roots.setdefault(path, {})
            for access in grant.access:
                clauses.setdefault(access, grant.clause)
        self._known: dict[tuple[str, str], str | None] = {}

    def trees(self, access: str) -> list[str]:
        """The paths that are granted so."""
        return [path for path, clauses in self._roots.items() if access in clauses]

    def clause(self, path: str, access: str) -> str | None:
        """The clause that grants `access` on `path`, or None."""
        own = self._roots.get(path)
        if own is not None and access in own:
            return own[access]
        directory = path.rpartition("/")[0]
        key = (directory, access)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._above(directory, access)
        return self._known[key]

    def _above(self, directory: str, access: str) -> str | None:
        while True:
            clauses = self._roots.get(directory or "/")
            if clauses is not None and access in clauses:
                return clauses[access]
            if not directory:
                return None
            directory = directory.rpartition("/")[0]
