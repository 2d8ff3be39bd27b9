"""A model that follows a script, in the three languages that agents speak, whole or as a stream of events.

Each turn is a list of tool calls, maybe with a text before them; the turn of a request follows from the conversation in
it. It remembers the requests that it got, headers included.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One tool call of the script."""

    id: str
    tool: str
    arguments: dict[str, Any]


class Model:
    """The script and what was asked. `turns`: the calls of each answer; after the last one it says that it is done.
    `texts`: what it says in each answer, the last one included."""

    def __init__(self, turns: Sequence[Sequence[Call]], texts: Sequence[str] = ()) -> None:
        self.turns = turns
        self.texts = texts
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.sent: list[bytes] = []  # the bodies of the answers, as they went out
        self.coding = ""  # a content coding for them
        self.port = 0

    def answer(self, path: str, request: dict[str, Any]) -> tuple[str, list[bytes]]:
        """Content type and body, in pieces."""
        streamed = bool(request.get("stream"))
        make = {"/v1/messages": _messages, "/v1/chat/completions": _chat, "/v1/responses": _responses}[path]
        calls = self._calls(path, request)
        pieces = make(calls, self._text(request, calls), request, streamed)
        return ("text/event-stream" if streamed else "application/json"), pieces

    def _calls(self, path: str, request: dict[str, Any]) -> Sequence[Call]:
        if not request.get("tools"):
            return ()  # a side question of the harness: a title, a summary
        if path == "/v1/responses":
            items = request["input"] if isinstance(request["input"], list) else []
            turn = sum(1 for item in items if str(item.get("type")).endswith("_output"))
        else:
            turn = sum(1 for message in request["messages"] if _has_results(message))
        done = 0
        for calls in self.turns:
            if done == turn:
                return calls
            # Chat and Responses send each result in a message of its own, Messages all results of a turn in one.
            done += 1 if path == "/v1/messages" else len(calls)
        return ()

    def _text(self, request: dict[str, Any], calls: Sequence[Call]) -> str:
        number = next((number for number, turn in enumerate(self.turns) if turn is calls), len(self.turns))
        if request.get("tools") and number < len(self.texts):
            return self.texts[number]
        return "" if calls else "Done."


def _has_results(message: dict[str, Any]) -> bool:
    if message.get("role") == "tool":
        return True
    content = message.get("content")
    return isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)


@contextmanager
def serving(model: Model) -> Iterator[Model]:
    """The model, listening on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            path = self.path.partition("?")[0]
            request = json.loads(body)
            model.requests.append((path, dict(self.headers), request))
            if path.endswith("/count_tokens"):
                kind, pieces = "application/json", [b'{"input_tokens":10}']
            else:
                kind, pieces = model.answer(path, request)
            if model.coding:
                pieces = list(_coded(pieces, model.coding))
            model.sent.append(b"".join(pieces))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if model.coding:
                self.send_header("Content-Encoding", model.coding)
            if kind == "application/json":
                self.send_header("Content-Length", str(sum(map(len, pieces))))
                self.end_headers()
                self.wfile.write(b"".join(pieces))
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Keep stderr for the agent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    model.port = server.server_address[1]
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _coded(pieces: Sequence[bytes], coding: str) -> Iterator[bytes]:
    if coding == "br":  # nothing here can make it, and nobody reads it
        yield b"\x1b" + b"".join(pieces)[::-1]
        return
    squeeze = zlib.compressobj(wbits=31 if coding == "gzip" else zlib.MAX_WBITS)
    for piece in pieces:
        yield squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    yield squeeze.flush()


def _event(content: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(content)}\n\n".encode()


def _messages(calls: Sequence[Call], said: str, request: dict[str, Any], streamed: bool) -> list[bytes]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": said}] if said else []
    blocks += [{"type": "tool_use", "id": call.id, "name": call.tool, "input": call.arguments} for call in calls]
    reason = "tool_use" if calls else "end_turn"
    usage = {"input_tokens": 10, "output_tokens": 10}
    message = {
        "id": f"msg_{len(request['messages']):04d}", "type": "message", "role": "assistant", "model": request["model"],
        "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    if not streamed:
        return [json.dumps(message).encode()]
    begin = {**message, "content": [], "stop_reason": None}
    pieces = [_event({"type": "message_start", "message": begin}, "message_start")]
    for index, block in enumerate(blocks):
        is_call = block["type"] == "tool_use"
        empty = {**block, "input": {}} if is_call else {**block, "text": ""}
        pieces.append(
            _event({"type": "content_block_start", "index": index, "content_block": empty}, "content_block_start")
        )
        text = json.dumps(block["input"]) if is_call else block["text"]
        kind, member = ("input_json_delta", "partial_json") if is_call else ("text_delta", "text")
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            delta = {"type": "content_block_delta", "index": index, "delta": {"type": kind, member: part}}
            pieces.append(_event(delta, "content_block_delta"))
        pieces.append(_event({"type": "content_block_stop", "index": index}, "content_block_stop"))
    end = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
    return [*pieces, _event(end, "message_delta"), _event({"type": "message_stop"}, "message_stop")]


def _chat(calls: Sequence[Call], said: str, request: dict[str, Any], streamed: bool) -> list[bytes]:
    wanted = [
        {"id": call.id, "type": "function", "function": {"name": call.tool, "arguments": json.dumps(call.arguments)}}
        for call in calls
    ]
    reason = "tool_calls" if calls else "stop"
    common = {"id": f"chatcmpl-{len(request['messages']):04d}", "created": 0, "model": request["model"]}
    if not streamed:
        message = {"role": "assistant", "content": said or None}
        if calls:
            message["tool_calls"] = wanted  # type: ignore[assignment]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        return [json.dumps({**common, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()]

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**common, "object": "chat.completion.chunk", "choices": [choice]})

    pieces = [chunk({"role": "assistant", "content": said[: len(said) // 2] or None})]
    if said:
        pieces.append(chunk({"content": said[len(said) // 2 :]}))
    for index, call in enumerate(wanted):
        text = call["function"]["arguments"]
        head = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        pieces.append(chunk({"tool_calls": [head]}))
        for part in (text[: len(text) // 2], text[len(text) // 2 :]):
            pieces.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
    return [*pieces, chunk({}, reason), b"data: [DONE]\n\n"]


def _responses(calls: Sequence[Call], said: str, request: dict[str, Any], streamed: bool) -> list[bytes]:
    words = {"type": "output_text", "text": said, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [words]}
    items: list[dict[str, Any]] = [message] if said else []
    items += [
        {"type": "function_call", "id": f"fc_{call.id}", "call_id": call.id, "name": call.tool, "status": "completed",
         "arguments": json.dumps(call.arguments)}
        for call in calls
    ]  # fmt: skip
    answer = {"id": "resp_1", "object": "response", "status": "completed", "model": request["model"], "output": items}
    if not streamed:
        return [json.dumps(answer).encode()]
    pieces = [_event({"type": "response.created", "response": {**answer, "output": []}}, "response.created")]
    for index, item in enumerate(items):
        done = {"type": "response.output_item.done", "output_index": index, "item": item}
        pieces.append(_event(done, "response.output_item.done"))
    return [*pieces, _event({"type": "response.completed", "response": answer}, "response.completed")]
