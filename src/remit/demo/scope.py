"""The scope files of the demo: a person approved fixing one test; `granted` adds two connections and their verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from remit.demo.script import search_path

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
network:
  connect: [{connect}]
  listen: []
devices: {{gpu: none}}
environment: {{set: {{PATH: {json.dumps(search_path())}}}}}
respond: {{{respond}}}
"""
