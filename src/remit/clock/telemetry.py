"""A receiver of OTLP over HTTP, for exporters of the process that it stands beside: spans of tools become claims.

It runs inside the boundary, with no right that the agent lacks. It takes everything and answers at once, because an
exporter that fails tells people of it.
"""

from __future__ import annotations

import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from remit.clock.claimant import send_claims
from remit.clock.spans import NoSpans, claims_in, spans_of_json, spans_of_protobuf

BODY_MAX = 16 << 20
_AT_ONCE = 16  # claims over one connection


class Receiver(ThreadingHTTPServer):
    """Listens on a port of loopback; 0 is any that is free."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The standard streams are the agent's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal() or int(length) > BODY_MAX:
            self.close_connection = True
            return self._answer(413, b"")
        body = self.rfile.read(int(length))
        is_json = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
        if self.path.partition("?")[0].rstrip("/") != "/v1/traces":
            return self._answer(200, b"{}" if is_json else b"")  # metrics and logs have nothing to say of steps
        try:
            body = _unpacked(body, self.headers.get("Content-Encoding", "identity"))
            claims = claims_in(spans_of_json(body) if is_json else spans_of_protobuf(body))
        except NoSpans:
            return self._answer(400, b"")
        for start in range(0, len(claims), _AT_ONCE):
            send_claims(claims[start : start + _AT_ONCE])
        self._answer(200, b"{}" if is_json else b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if body else "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: Any) -> None:
        """The standard streams are the agent's."""


def _unpacked(body: bytes, coding: str) -> bytes:
    if coding == "identity":
        return body
    if coding not in ("gzip", "deflate"):
        raise NoSpans(f"an unknown coding: {coding}")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(body, BODY_MAX)
    except zlib.error:
        raise NoSpans("it cannot be unpacked") from None
    if not unpacker.eof:
        raise NoSpans("it breaks off, or is too long")
    return plain
