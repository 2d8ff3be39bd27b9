"""A session on a host that is made to look older than it is, or is that old."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest
from attacks import Inside, new_workspace

from remit import Session
from remit.scope.gaps import WALL_NAMES

SCOPE = "files: {write: [$WORKSPACE, $TMPDIR]}\n"

# In the place of Python, where a session is started: the same, on a host that is made to look older.
OLDER = """#!{python} -I
import runpy, sys
from remit.boundary import cache
from remit.kernel import seccomp
found = cache.find_host()
cache.find_host = lambda: found._replace(landlock_abi=min(found.landlock_abi, {abi}))
install = seccomp.install_filter
if {breakable}:
    seccomp._FLAG_WAIT_KILLABLE_RECV = 0
    seccomp.install_filter = lambda program: (install(program)[0], False)
sys.argv = sys.argv[3:]
runpy.run_module("remit.cli.session", run_name="__main__", alter_sys=True)
"""


@contextlib.contextmanager
def older_session(
    factory: pytest.TempPathFactory, *, abi: int, breakable: bool = False, sight: str = "normal", scope: str = SCOPE
) -> Iterator[Inside]:
    """A session with such a Landlock; `breakable`: and whose questions are broken off by signals."""
    python = factory.mktemp("older") / "python"
    python.write_text(OLDER.format(python=sys.executable, abi=abi, breakable=breakable))
    python.chmod(0o755)
    workspace = new_workspace(factory)
    path = factory.mktemp("scope") / "scope.yaml"
    path.write_text(f"remit: 1\ntask: older\nuse: [base, python]\n{scope}")
    session = Session(path, workspace=workspace, accept_gaps=WALL_NAMES, sight=sight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        session.__enter__()
    try:
        yield Inside(session, workspace)
    finally:
        session.__exit__(None, None, None)
