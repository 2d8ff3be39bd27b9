"""A real, small Stratum v1 miner: every share it submits was found by double SHA-256 over a block header.

Usage: python3 miner.py --url stratum+tcp://HOST:PORT --user WALLET.WORKER [--shares N] [--seconds S]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import sys
import time
from typing import Any
from urllib.parse import urlsplit

DIFFICULTY_ONE = 0xFFFF << 208  # Bitcoin's target at difficulty 1
BATCH = 4096  # hashes between two looks at the clock


def mine(host: str, port: int, user: str, shares: int, seconds: float) -> int:
    """Hash for the pool until it accepted enough shares or the time is over; returns the number it accepted."""
    deadline = time.monotonic() + seconds
    with socket.create_connection((host, port), timeout=3) as connection:
        stream = connection.makefile("rw", encoding="ascii", newline="\n")
        accepted, number, difficulty = 0, 2, 1.0
        extranonce: tuple[str, int] | None = None
        send(stream, 1, "mining.subscribe", ["demo-miner/1.0"])
        send(stream, 2, "mining.authorize", [user, "x"])
        while accepted < shares and time.monotonic() < deadline:
            message: dict[str, Any] = json.loads(stream.readline())
            if message.get("id") == 1:
                extranonce = (message["result"][1], message["result"][2])
            elif message.get("method") == "mining.set_difficulty":
                difficulty = float(message["params"][0])
            elif message.get("method") == "mining.notify" and extranonce:
                job = message["params"]
                while accepted < shares and (found := search(job, extranonce, difficulty, deadline)):
                    number += 1
                    send(stream, number, "mining.submit", [user, job[0], found[0], job[7], found[1]])
                    while (answer := json.loads(stream.readline())).get("id") != number:
                        pass
                    accepted += answer.get("result") is True
                    print(f"share {number - 2}: {'accepted' if answer.get('result') else 'rejected'}", flush=True)
        return accepted


def search(job: list[Any], extranonce: tuple[str, int], difficulty: float, deadline: float) -> tuple[str, str] | None:
    """One (extranonce2, nonce) whose header hashes below the share target, or None when the time is over."""
    _, previous, coinbase_1, coinbase_2, branches, version, bits, moment, _ = job
    target = int(DIFFICULTY_ONE / difficulty)
    extranonce_2 = os.urandom(extranonce[1]).hex()
    root = double(bytes.fromhex(coinbase_1 + extranonce[0] + extranonce_2 + coinbase_2))
    for branch in branches:
        root = double(root + bytes.fromhex(branch))
    words = bytes.fromhex(previous)
    swapped = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))  # Stratum sends the hash in swapped words
    prefix = hashlib.sha256(
        bytes.fromhex(version)[::-1] + swapped + root + bytes.fromhex(moment)[::-1] + bytes.fromhex(bits)[::-1]
    )
    for nonce in range(1 << 32):
        state = prefix.copy()
        state.update(nonce.to_bytes(4, "little"))
        if int.from_bytes(hashlib.sha256(state.digest()).digest(), "little") <= target:
            return extranonce_2, f"{nonce:08x}"
        if nonce % BATCH == 0 and time.monotonic() > deadline:
            return None
    return None


def double(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def send(stream: Any, number: int, method: str, parameters: list[Any]) -> None:
    stream.write(json.dumps({"id": number, "method": method, "params": parameters}) + "\n")
    stream.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="mine for a Stratum pool")
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--shares", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    pool = urlsplit(options.url)
    try:
        accepted = mine(pool.hostname or "", pool.port or 3333, options.user, options.shares, options.seconds)
    except (OSError, ValueError) as problem:
        print(f"miner: {pool.netloc}: {problem}", file=sys.stderr)
        return 1
    print(f"miner: {accepted} shares accepted")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main())
