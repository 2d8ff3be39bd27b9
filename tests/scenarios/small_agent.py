"""A small agent, run inside the boundary: asks its model, runs what it wants with sh, sends the results back.

    python3 small_agent.py messages|chat|responses stream|whole

It knows its model's address from the environment, as real ones do. What it prints is the model's last word.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}


def main(language: str, streamed: bool) -> None:
    base = os.environ["ANTHROPIC_BASE_URL" if language == "messages" else "OPENAI_BASE_URL"]
    model = http.client.HTTPConnection(urlsplit(base).netloc, timeout=20)
    history: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    while True:
        calls, said = read(language, ask(model, language, history, streamed))
        history += said
        if not calls:
            print("done")
            return
        for call_id, line in calls:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            history += results(language, call_id, done.stdout + done.stderr)


def ask(model: http.client.HTTPConnection, language: str, history: list[dict[str, Any]], streamed: bool) -> list[Any]:
    """The answer's JSON objects: one, or those of its events."""
    body: dict[str, Any] = {"model": "m", "stream": streamed, "tools": [{"name": "bash"}], "max_tokens": 100}
    body["input" if language == "responses" else "messages"] = merged(history) if language == "messages" else history
    model.request("POST", PATHS[language], json.dumps(body), {"Content-Type": "application/json"})
    answer = model.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {data.decode()}")
    if not streamed:
        return [json.loads(data)]
    lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def read(language: str, answers: list[Any]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The calls as (id, shell line), and what goes into the history."""
    if language == "messages":
        blocks = answers[0].get("content") or []
        texts: dict[int, str] = {}
        for event in answers:
            if event.get("type") == "content_block_start":
                blocks.append(event["content_block"])
            elif event.get("type") == "content_block_delta":
                texts[event["index"]] = texts.get(event["index"], "") + event["delta"].get("partial_json", "")
        for index, block in enumerate(blocks):
            if block["type"] == "tool_use" and texts.get(index):
                block["input"] = json.loads(texts[index])
        wanted = [(block["id"], block["input"]["command"]) for block in blocks if block["type"] == "tool_use"]
        return wanted, [{"role": "assistant", "content": blocks}]
    if language == "responses":
        items = answers[0].get("output") or [event["item"] for event in answers if "item" in event]
        found = [item for item in items if item["type"] == "function_call"]
        return [(item["call_id"], json.loads(item["arguments"])["command"]) for item in found], items
    calls: dict[int, dict[str, Any]] = {}
    for answer in answers:
        choice = answer["choices"][0]
        for index, part in enumerate((choice.get("message") or choice["delta"]).get("tool_calls") or []):
            call = calls.setdefault(
                part.get("index", index), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            call["id"] += part.get("id", "")
            for name in ("name", "arguments"):
                call["function"][name] += part["function"].get(name, "")
    wanted = [(call["id"], json.loads(call["function"]["arguments"])["command"]) for call in calls.values()]
    return wanted, [{"role": "assistant", "content": None, "tool_calls": list(calls.values())}]


def results(language: str, call_id: str, output: str) -> list[dict[str, Any]]:
    if language == "messages":
        return [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": output}]}]
    if language == "chat":
        return [{"role": "tool", "tool_call_id": call_id, "content": output}]
    return [{"type": "function_call_output", "call_id": call_id, "output": output}]


def merged(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All results of a turn in one message, as the Messages API wants it."""
    found: list[dict[str, Any]] = []
    for message in history:
        if found and message["role"] == "user" == found[-1]["role"]:
            found[-1] = {"role": "user", "content": [*found[-1]["content"], *message["content"]]}
        else:
            found.append(message)
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "stream")
