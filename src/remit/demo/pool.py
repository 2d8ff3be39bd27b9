"""A Stratum v1 mining pool on loopback that accepts a share only after hashing the header itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

DIFFICULTY_ONE = 0xFFFF << 208
HASHES_PER_SHARE = 1 << 15  # easy: a Python miner finds a share in about 50 ms
DIFFICULTY = HASHES_PER_SHARE / (1 << 32)
EXTRANONCE_2_SIZE = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A block template in Stratum's hexadecimal fields, without transactions besides the coinbase."""

    identity: str
    previous: str
    coinbase_1: str
    coinbase_2: str
    version: str
    bits: str
    moment: str


def new_job() -> Job:
    """A template on top of a random block: its shape is real, its chain does not exist."""
    return Job(
        identity=os.urandom(4).hex(),
        previous=os.urandom(32).hex(),
        coinbase_1="01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff08",
        coinbase_2="ffffffff0100f2052a010000001976a914" + "00" * 20 + "88ac00000000",
        version="20000000",
        bits="1d00ffff",
        moment=f"{int(time.time()):08x}",
    )


def share_hash(job: Job, extranonce_1: str, extranonce_2: str, moment: str, nonce: str) -> int:
    """The double SHA-256 of the header that a share stands for, as the number compared with the target."""
    coinbase = bytes.fromhex(job.coinbase_1 + extranonce_1 + extranonce_2 + job.coinbase_2)
    previous = bytes.fromhex(job.previous)
    header = b"".join(
        (
            bytes.fromhex(job.version)[::-1],
            *(previous[i : i + 4][::-1] for i in range(0, 32, 4)),
            _double(coinbase),  # with no other transaction the coinbase is the Merkle root
            bytes.fromhex(moment)[::-1],
            bytes.fromhex(job.bits)[::-1],
            bytes.fromhex(nonce)[::-1],
        )
    )
    return int.from_bytes(_double(header), "little")


def _double(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass
class Pool:
    """What the pool saw: connections, workers, and the shares it accepted and rejected."""

    port: int = 0
    connections: int = 0
    accepted: int = 0
    rejected: int = 0
    workers: set[str] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def connected(self) -> int:
        """Miners whose connection is open now."""
        return len(self._writers)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for writer in list(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        miner = Miner(self, new_job(), extranonce_1=os.urandom(4).hex())
        try:
            while line := await reader.readline():
                for message in miner.answer(json.loads(line)):
                    writer.write(json.dumps(message).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            pass  # a miner that was killed, or that does not speak Stratum, ends its own connection only
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass
class Miner:
    """The pool's side of one connection: messages in, messages out."""

    pool: Pool
    job: Job
    extranonce_1: str
    seen: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        number, parameters = message.get("id"), message.get("params", [])
        match message.get("method"):
            case "mining.subscribe":
                channels = [["mining.set_difficulty", "1"], ["mining.notify", "1"]]
                return [_result(number, [channels, self.extranonce_1, EXTRANONCE_2_SIZE])]
            case "mining.authorize":
                self.pool.workers.add(str(parameters[0]))
                job = self.job
                notify = [job.identity, job.previous, job.coinbase_1, job.coinbase_2, [], job.version, job.bits]
                return [
                    _result(number, True),
                    {"id": None, "method": "mining.set_difficulty", "params": [DIFFICULTY]},
                    {"id": None, "method": "mining.notify", "params": [*notify, job.moment, True]},
                ]
            case "mining.submit":
                reason = self._refuse(parameters)
                self.pool.accepted += reason is None
                self.pool.rejected += reason is not None
                return [_result(number, True) if reason is None else _problem(number, reason)]
            case _:
                return [_problem(number, (20, "unknown method"))]

    def _refuse(self, parameters: list[Any]) -> tuple[int, str] | None:
        """Stratum's error for a share that does not count, or None for a good one."""
        try:
            worker, identity, extranonce_2, moment, nonce = (str(word) for word in parameters)
            value = share_hash(self.job, self.extranonce_1, extranonce_2, moment, nonce)
        except ValueError:
            return 20, "malformed share"
        if worker not in self.pool.workers:
            return 24, "unauthorized worker"
        if identity != self.job.identity:
            return 21, "job not found"
        if (extranonce_2, nonce) in self.seen:
            return 22, "duplicate share"
        if value > int(DIFFICULTY_ONE / DIFFICULTY):
            return 23, "low difficulty share"
        self.seen.add((extranonce_2, nonce))
        return None


def _result(number: Any, result: Any) -> dict[str, Any]:
    return {"id": number, "result": result, "error": None}


def _problem(number: Any, reason: tuple[int, str]) -> dict[str, Any]:
    return {"id": number, "result": None, "error": [*reason, None]}
