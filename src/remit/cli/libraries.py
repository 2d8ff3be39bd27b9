"""Refuses to start where the dynamic linker, or OpenSSL, would load the agent's libraries into remit's processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from remit.errors import BoundaryError
from remit.kernel.paths import is_inside
from remit.plan import PathGrant

# ld.so(8), openssl-env(7). An empty element of a list is the current directory.
_PLACES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES")


def check_libraries(environment: Mapping[str, str], grants: Iterable[PathGrant], *, observe: bool) -> None:
    """Raises BoundaryError when a variable of the caller's leads to where the agent may write."""
    if not any(name in environment for name in _PLACES):
        return
    written = [grant.path for grant in grants if "write" in grant.access and grant.path.startswith("/")]
    for name in _PLACES:
        for place in environment[name].replace(";", ":").replace(" ", ":").split(":") if name in environment else ():
            real = os.path.realpath(place or ".")
            if any(is_inside(real, tree) for tree in written) or (observe and os.access(real, os.W_OK)):
                raise BoundaryError(
                    f"{name} has remit itself load code from where the agent may write: {place or 'an empty element'}",
                    hint=f"unset it, and set it for the command alone: remit run -- env {name}=... COMMAND",
                )
