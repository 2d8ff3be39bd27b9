"""A model endpoint on loopback that replays fixed tool calls as OpenAI chat completions, one for each turn.

The next call follows from the request alone: its number is the count of tool results in the conversation.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from remit.demo.agent import ToolCall

MODEL = "replay"
PATH = "/v1/chat/completions"


@contextmanager
def model_endpoint(calls: Sequence[ToolCall]) -> Iterator[int]:
    """Serve the calls on a loopback port and yield the port."""

    class Handler(BaseHTTPRequestHandler):
        # Keep-alive spares a connection for each turn; Nagle's delay would cost 40 ms for each.
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            request = json.loads(self.rfile.read(length))
            known = self.path == PATH
            answer = completion(request, calls) if known else {"error": {"message": f"no such endpoint: {self.path}"}}
            body = json.dumps(answer).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep stderr for the story."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="model", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(request: dict[str, Any], calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The answer to one request: the next tool call, or plain text when the script is over."""
    turn = sum(message.get("role") == "tool" for message in request.get("messages", []))
    message: dict[str, Any] = {"role": "assistant", "content": "Done."}
    if turn < len(calls):
        call = calls[turn]
        function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        }
    reason = "tool_calls" if turn < len(calls) else "stop"
    return {
        "id": f"chatcmpl-{turn + 1:04d}",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }
