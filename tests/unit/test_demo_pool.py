"""The pool accepts a share only if its hash is below the target; an independent miner finds such shares."""

from __future__ import annotations

import time
from typing import Any

from remit.demo.pool import DIFFICULTY, DIFFICULTY_ONE, Job, Miner, Pool, new_job, share_hash
from remit.demo.programs.miner import search

WORKER = "wallet.one"


def authorized_miner() -> tuple[Pool, Miner]:
    pool = Pool()
    miner = Miner(pool, new_job(), extranonce_1="00112233")
    miner.answer({"id": 1, "method": "mining.subscribe", "params": []})
    miner.answer({"id": 2, "method": "mining.authorize", "params": [WORKER, "x"]})
    return pool, miner


def submit(miner: Miner, extranonce_2: str, nonce: str, worker: str = WORKER, job: str | None = None) -> dict[str, Any]:
    parameters = [worker, job or miner.job.identity, extranonce_2, miner.job.moment, nonce]
    (answer,) = miner.answer({"id": 9, "method": "mining.submit", "params": parameters})
    return answer


def real_share(miner: Miner) -> tuple[str, str]:
    """Found by the miner's own code, which shares no line with the pool."""
    notify = miner.answer({"id": 3, "method": "mining.authorize", "params": [WORKER, "x"]})[2]
    found = search(notify["params"], (miner.extranonce_1, 4), DIFFICULTY, time.monotonic() + 30)
    assert found is not None
    return found


def test_subscribe_gives_the_extranonce_and_its_size() -> None:
    _, miner = authorized_miner()
    (answer,) = miner.answer({"id": 1, "method": "mining.subscribe", "params": []})
    assert answer["result"][1:] == ["00112233", 4]


def test_a_share_that_was_really_found_is_accepted_once() -> None:
    pool, miner = authorized_miner()
    extranonce_2, nonce = real_share(miner)
    assert submit(miner, extranonce_2, nonce)["result"] is True
    assert submit(miner, extranonce_2, nonce)["error"][0] == 22
    assert (pool.accepted, pool.rejected) == (1, 1)


def test_made_up_shares_are_rejected() -> None:
    pool, miner = authorized_miner()
    target = int(DIFFICULTY_ONE / DIFFICULTY)
    nonces = [f"{n:08x}" for n in range(50)]
    bad = [n for n in nonces if share_hash(miner.job, miner.extranonce_1, "00000000", miner.job.moment, n) > target]
    assert bad  # one nonce in 32768 is good
    assert submit(miner, "00000000", bad[0])["error"][1] == "low difficulty share"
    assert pool.accepted == 0


def test_unknown_workers_jobs_methods_and_malformed_shares_are_rejected() -> None:
    _, miner = authorized_miner()
    extranonce_2, nonce = real_share(miner)
    assert submit(miner, extranonce_2, nonce, worker="someone")["error"][1] == "unauthorized worker"
    assert submit(miner, extranonce_2, nonce, job="ffff")["error"][1] == "job not found"
    assert submit(miner, "not hexadecimal", nonce)["error"][1] == "malformed share"
    assert miner.answer({"id": 4, "method": "mining.unknown"})[0]["error"][1] == "unknown method"


def test_the_header_is_bitcoins() -> None:
    """The genesis block's fields, as Stratum sends them, hash to the genesis block's hash."""
    coinbase = (
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054"
        "696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420"
        "666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61"
        "deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
    )
    job = Job("1", "00" * 32, coinbase[:40], coinbase[56:], "00000001", "1d00ffff", "495fab29")
    value = share_hash(job, coinbase[40:48], coinbase[48:56], job.moment, "7c2bac1d")
    assert f"{value:064x}" == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
