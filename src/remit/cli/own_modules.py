"""What remit's own processes import comes from where the agent cannot write.

Python looks for modules also where PYTHONPATH says, in the current directory and where any .pth file points: each may
be, or lie in, a workspace.
"""

from __future__ import annotations

import os
import sys

import remit


def keep_to_own_modules() -> None:
    """Leave to import from only Python's own places, this environment's, and the one that remit was found in."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(remit.__file__)))
    user = getattr(sys.modules.get("site"), "USER_SITE", None)
    own = tuple(f"{os.path.abspath(place)}/" for place in (home, sys.prefix, sys.base_prefix, user) if place)
    sys.path[:] = [entry for entry in sys.path if entry and f"{os.path.abspath(entry)}/".startswith(own)]
