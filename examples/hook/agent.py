"""A small agent that calls command hooks before and after each tool, with what Claude Code would tell them."""

from __future__ import annotations

import json
import subprocess


def hook(event: str, call: dict[str, object]) -> None:
    said = {"session_id": "example", "hook_event_name": event, **call}
    subprocess.run(["remit", "hook"], input=json.dumps(said), text=True, check=True)


for number, line in enumerate(["echo one > one.txt", "cat one.txt && date > two.txt"], start=1):
    call = {"tool_name": "Bash", "tool_use_id": f"call_{number}", "tool_input": {"command": line}}
    hook("PreToolUse", call)
    subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, check=True)
    hook("PostToolUse", call)
print("Done.")
