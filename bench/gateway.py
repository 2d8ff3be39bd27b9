"""What the model gateway adds to the time to the first byte, with many streams at once; bytes are compared, too.

An agent under `remit run` asks the same model through the gateway and, by a grant, directly, in turn. `--streams` are
under way at once, each begun when it comes to it; a piece comes every 10 ms, as tokens do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECES = [f'data: {{"type": "ping", "n": {n}}}\n\n'.encode() for n in range(50)]

CLIENT = """
import http.client, json, os, sys, threading, time
direct, streams, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
through = os.environ["ANTHROPIC_BASE_URL"].partition("//")[2]
found = {direct: [], through: []}
bodies = set()
def ask(first):
    time.sleep(first * 0.5 / streams)
    connections = {place: http.client.HTTPConnection(place) for place in (direct, through)}
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x" * 2000}]})
    for number in range(rounds + 2):
        for place in ((direct, through) if (number + first) % 2 else (through, direct)):
            began = time.perf_counter()
            connections[place].request("POST", "/v1/messages", body, {"Content-Type": "application/json"})
            answer = connections[place].getresponse()
            piece = answer.read(1)
            if number >= 2:
                found[place].append((time.perf_counter() - began) * 1e3)
            bodies.add(piece + answer.read())
threads = [threading.Thread(target=ask, args=(n,)) for n in range(streams)]
[t.start() for t in threads]; [t.join() for t in threads]
json.dump({"direct": found[direct], "through": found[through], "bodies": len(bodies)}, open("out.json", "w"))
"""


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in PIECES:
            time.sleep(0.01)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Keep stdout for the result."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20, help="at once (default: 20)")
    parser.add_argument("--rounds", type=int, default=20, help="of each stream, each way (default: 20)")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    with tempfile.TemporaryDirectory(prefix="remit-bench-", dir=Path.home()) as directory:
        workspace = Path(directory, "workspace")
        workspace.mkdir()
        (workspace / "client.py").write_text(CLIENT)
        scope = {
            "remit": 1,
            "task": "bench",
            "use": ["base", "python"],
            "files": {"write": ["$WORKSPACE"]},
            "network": {"connect": [{"cidr": "127.0.0.1", "port": port}]},
            "model": {"api": "anthropic", "upstream": f"http://127.0.0.1:{port}", "credential": "env:MODEL_API_KEY"},
        }
        Path(directory, "scope.yaml").write_text(json.dumps(scope))
        remit = Path(sys.executable).with_name("remit")
        words = [f"127.0.0.1:{port}", str(options.streams), str(options.rounds)]
        command = [remit, "run", "--scope", f"{directory}/scope.yaml", "--", "python3", "client.py", *words]
        began = time.monotonic()
        subprocess.run(command, cwd=workspace, env={**os.environ, "MODEL_API_KEY": "none"}, check=True)
        found = json.loads((workspace / "out.json").read_text())
    for way in ("direct", "through"):
        print(f"{way:<8} p50 {statistics.median(found[way]):6.2f} ms  p99 {_percentile(found[way], 99):6.2f} ms")
    print(
        f"added    p50 {statistics.median(found['through']) - statistics.median(found['direct']):6.2f} ms"
        f"  p99 {_percentile(found['through'], 99) - _percentile(found['direct'], 99):6.2f} ms"
    )
    seconds = time.monotonic() - began
    print(f"bodies that differ: {found['bodies'] - 1}; {len(found['through'])} streams each way, {seconds:.0f} s")
    return 0


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


if __name__ == "__main__":
    sys.exit(main())
