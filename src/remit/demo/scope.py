"""The scope files of the demo: a person approved fixing one test; `granted` adds two connections and their verdicts."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence

from remit.demo.script import SYSTEM_PATH, has_openssh, search_path

STOPPED = ("reverse-tunnel", "crypto-mining")


def scope_text(ports: Sequence[int] = ()) -> str:
    """A scope as YAML; `ports` are loopback ports that the agent may connect to, and then verdicts replace the wall.

    Without such grants every response is `record`: the walls hold, so the agent can be watched to the end.
    """
    connect = ", ".join(f"{{cidr: 127.0.0.1/32, port: {port}}}" for port in ports)
    respond = ", ".join(f"{behaviour}: {'kill' if ports else 'record'}" for behaviour in STOPPED)
    return f"""\
remit: 1
task: fix-failing-test
purpose: Fix durations.py in the workspace so that its tests pass.
use: [base, python]
files:
  write: [$WORKSPACE, $TMPDIR]
  execute: {json.dumps(_interpreters())}
network:
  connect: [{connect}]
  listen: []
devices: {{gpu: none}}
environment: {{set: {{PATH: {json.dumps(search_path())}}}}}
respond: {{{respond}}}
"""


def _interpreters() -> list[str]:
    """This interpreter's trees, where the agent's programs depend on it: no system python3, or no OpenSSH."""
    if has_openssh() and shutil.which("python3", path=SYSTEM_PATH):
        return []
    return sorted({sys.prefix, sys.base_prefix})
