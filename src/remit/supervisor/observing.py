"""While observing, what no grant covers goes on and is recorded as what the scope would have refused.

Still refused is what no scope could grant. For files that is whatever holds remit's own: the evidence, the plan cache,
the code, and the session's cgroups; for root also the kernel's settings. A scope that could write there is an error,
and so no directory around them can be granted whole; a new name directly in one of these is refused here too.
"""

from __future__ import annotations

import errno
from typing import Any

from remit.kernel.paths import is_inside
from remit.plan import Plan

OWN_CLAUSE = "what is remit's own or rules its processes is in nobody's scope, nor are new names around it"


def uncovered(plan: Plan, clause: str, *, wall: str, error: int = errno.EACCES) -> dict[str, Any]:
    """The members of a record of what no grant covers: refused, or let through because the session observes."""
    if plan.observe:
        return {"errno": 0, "refused": False, "observed": True, "wall": wall, "clause": clause}
    return {"errno": error, "refused": True, "wall": wall, "clause": clause}


def uncovered_write(plan: Plan, path: str, clause: str, *, new_name: bool) -> dict[str, Any]:
    """As `uncovered`, for a write to a path. new_name: the directory changes, not only what is there."""
    if plan.observe and is_own(plan, path, new_name=new_name):
        return {"errno": errno.EACCES, "refused": True, "wall": "files", "clause": OWN_CLAUSE}
    return uncovered(plan, clause, wall="files")


def is_own(plan: Plan, path: str, *, new_name: bool) -> bool:
    """Whether a change there would be one of remit's own, or of the directories that lead to them."""
    directory = path.rpartition("/")[0] or "/"
    return any(
        is_inside(path, own) or (new_name and is_inside(own, directory)) for own in (*plan.outside, *plan.hidden)
    )
