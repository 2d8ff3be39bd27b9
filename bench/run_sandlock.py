"""run_sandlock.py WORKSPACE COMMAND...: a peer, given about the reach that remit's default scope gives."""

from __future__ import annotations

import os
import sys

from sandlock import Sandbox  # type: ignore[import-not-found]

READABLE = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/dev", "/sys/fs/cgroup", os.path.dirname(sys.prefix)]

box = Sandbox(
    fs_readable=[path for path in READABLE if os.path.exists(path)],
    fs_writable=[sys.argv[1], "/tmp", "/dev/null"],
    cwd=sys.argv[1],
)
sys.exit(box.run_interactive(sys.argv[2:]))
