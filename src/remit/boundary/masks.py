"""Which secrets and protected paths lie inside grants, and which of them a mount can cover; decided for the plan.

Where there are mounts anyway, what presets grant of what all programs of a user share becomes the session's own.

Landlock grants whole trees. What must be taken back from one is covered by a mount in a namespace of the session's own
(`mask_mounts`), where this host allows that. What a mount cannot cover stays a gap, by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from remit.boundary.grants import FileGrants
from remit.boundary.mask_mounts import SHARED
from remit.kernel.paths import is_inside
from remit.plain import Data
from remit.plan import Mask, PathGrant


class Masks(Data):
    """What is covered, and what lies inside a grant and is not."""

    covered: tuple[Mask, ...]
    open_secrets: tuple[str, ...]
    open_protected: tuple[str, ...]


NO_MASKS = Masks((), (), ())


def find_masks(files: FileGrants, *, possible: bool, view: bool = False) -> Masks:
    """`possible`: this host lets us mount. `view`: there are mounts anyway."""
    secrets = [path for path in files.secrets if _readable(path) and is_covered(path, files.grants, "read")]
    protected = [path for path in files.protected if is_covered(path, files.grants, "write")]
    # A link is replaced by whoever may write beside it, and then names something else.
    links = [link for link in files.protected_links if is_covered(link, files.grants, "write")]
    covered: list[Mask] = []
    left: dict[str, list[str]] = {"secret": [], "protected": links}
    for kind, paths in (("secret", secrets), ("protected", protected)):
        for path in paths:
            if possible and not _has_other_names(path):
                covered.append(Mask(path, kind, _outermost(path, files.grants)))
            else:
                left[kind].append(path)
    if covered or view:
        covered += [
            Mask(path, kind, "") for path, kind in SHARED.items() if os.path.isdir(path) and _by_presets(path, files)
        ]
    return Masks(tuple(sorted(set(covered))), tuple(left["secret"]), tuple(left["protected"]))


def _by_presets(path: str, files: FileGrants) -> bool:
    """Whether presets alone let `path` be written: whoever grants it by name wants what others have there."""
    clauses = [grant.clause for grant in files.grants if "write" in grant.access and is_inside(path, grant.path)]
    return bool(clauses) and all(clause.startswith("use:") for clause in clauses)


def is_covered(path: str, grants: Iterable[PathGrant], access: str) -> bool:
    """Whether some grant gives this access to `path`."""
    return any(access in grant.access and is_inside(path, grant.path) for grant in grants)


def _outermost(path: str, grants: Iterable[PathGrant]) -> str:
    """The widest writable tree around `path`: within it, whoever may write can move a parent away. "" for none."""
    trees = [grant.path for grant in grants if "write" in grant.access and is_inside(path, grant.path)]
    return min(trees, key=len, default="")


def _has_other_names(path: str) -> bool:
    """A file with a second hard link can be reached by that, whatever covers this one."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1


def _readable(path: str) -> bool:
    """Whether plain permissions leave a secret open to this user; what is not there has nothing to lose."""
    try:
        status = os.stat(path)
    except PermissionError:
        return False  # a directory above it refuses
    except OSError:
        return False
    # An owner who is refused by the mode can change the mode.
    return status.st_uid == os.getuid() or os.access(path, os.R_OK)
