"""Takes privilege away from engine and notary: both may read Python's files, the engine its evidence, and no more."""

from __future__ import annotations

import os
import sys

from remit.kernel import landlock, process


def confine_reader(*trees: str) -> None:
    """Confine this process for good to reading `trees` and Python's files.

    Raises OSError when a wall that the kernel has cannot be put up.
    """
    process.drop_capabilities()
    landlock.set_no_new_privileges()
    abi = landlock.abi()
    if abi == 0:
        return  # the plan's gap says so already
    files = landlock.handled_file_rights(abi)
    ruleset = landlock.create_ruleset(
        files=files,
        network=landlock.CONNECT_TCP | landlock.BIND_TCP if abi >= 4 else 0,
        scopes=landlock.SCOPE_SIGNAL | landlock.SCOPE_ABSTRACT_UNIX_SOCKET if abi >= 6 else 0,
        abi_version=abi,
    )
    for place in {*trees, *sys.path, sys.base_prefix, "/usr/lib", "/lib"}:
        if place and os.path.exists(place):
            landlock.allow_path(ruleset, place, (landlock.READ | landlock.EXECUTE) & files)
    landlock.restrict_self(ruleset)
    os.close(ruleset)
