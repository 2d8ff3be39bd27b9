"""An agent for random episodes, run inside the boundary: harness, persistent shell, scripts, sub-agents, in parallel.

    python3 episodes_agent.py EPISODE...

Each tool runs its text in another way. What a call starts has the call's id in TRUTH, which says what was so.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit


class Conversation:
    """One episode: asks the model, runs what it wants, sends results, until it wants nothing more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shell: subprocess.Popen[str] | None = None
        self.model = http.client.HTTPConnection(urlsplit(os.environ["ANTHROPIC_BASE_URL"]).netloc, timeout=60)
        self.history: list[dict[str, Any]] = [{"role": "user", "content": name}]

    def run(self) -> None:
        while calls := self.ask():
            waiting = [(call["id"], self.start(call)) for call in calls]
            for call, process in waiting:
                if process is not None:
                    process.wait()
                elif self.shell is not None:
                    self.read_to(f"end of {call}")
            results = [{"type": "tool_result", "tool_use_id": call, "content": "ok"} for call, _ in waiting]
            self.history.append({"role": "user", "content": results})
        if self.shell is not None:
            self.shell.communicate("exit\n")

    def ask(self) -> list[dict[str, Any]]:
        body = {"model": "m", "max_tokens": 100, "tools": [{"name": "bash"}], "messages": self.history}
        self.model.request("POST", "/v1/messages", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(self.model.getresponse().read())
        self.history.append({"role": "assistant", "content": answer["content"]})
        return [block for block in answer["content"] if block["type"] == "tool_use"]

    def start(self, call: dict[str, Any]) -> subprocess.Popen[Any] | None:
        text, environment = call["input"].get("command", ""), {**os.environ, "TRUTH": call["id"]}
        options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if call["name"] == "agent":
            return subprocess.Popen([sys.executable, __file__, call["input"]["prompt"]], **options)
        if call["name"] == "script":
            place = f"{self.name}-{call['id']}.sh".replace("/", "-")
            with open(place, "w") as script:
                script.write(text)
            return subprocess.Popen(["bash", place], **options)
        if call["name"] == "shell":
            self.tell(f"export TRUTH={call['id']}\n{text}\necho end of {call['id']}\n")
            return None
        return subprocess.Popen(["sh", "-c", text], **options)

    def tell(self, text: str) -> None:
        if self.shell is None:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.shell = subprocess.Popen(["bash", "--norc", "--noprofile"], text=True, **pipes)
        assert self.shell.stdin is not None
        self.shell.stdin.write(text)
        self.shell.stdin.flush()

    def read_to(self, end: str) -> None:
        assert self.shell is not None
        assert self.shell.stdout is not None
        for line in self.shell.stdout:
            if line.strip() == end:
                return


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Conversation(name).run()
