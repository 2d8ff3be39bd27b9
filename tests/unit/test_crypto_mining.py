"""crypto-mining: miners by what they say and by what they do; compilers, trainers and greps are left alone."""

from __future__ import annotations

import pytest

from remit.testing import Playbook

POOL = "203.0.113.7:3333"
WALLET = "4" + "A" * 94
SUBSCRIBED = '{"id":1,"result":[[["mining.set_difficulty","1"],["mining.notify","1"]],"08000002",4],"error":null}\n'
LOGGED_IN = '{"id":1,"jsonrpc":"2.0","result":{"id":"x","job":{"blob":"0e0e","job_id":"1","target":"b88d0600"}}}\n'


def in_step(*command: str) -> Playbook:
    start = Playbook(respond={"crypto-mining": "freeze"}).step("call_1", "bash", {"command": " ".join(command)})
    return start.spawn("/bin/bash", "-c", " ".join(command), step="call_1").fork().exec(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("/work/xmrig",),
        ("/work/xmrig", "-c", "config.json"),
        ("/work/build/cc1", "-o", "stratum+tcp://pool:3333", "-u", WALLET),
        ("/work/train", "--url=stratum+ssl://pool:443"),
        ("/work/train", "--donate-level", "1", "-o", "pool:3333"),
        ("/work/train", "-a", "rx/0", "-u", WALLET, "-o", "pool:3333"),
        ("/work/curl", "-o", "stratum+tcp://pool:3333"),
        ("/usr/bin/python3", "-c", "s.send(json.dumps({'method': 'mining.subscribe'}))"),
        ("/usr/bin/python3", "/work/cpuminer"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_a_program_that_speaks_of_mining_and_connects(command: tuple[str, ...]) -> None:
    in_step(*command).connect(POOL, refused=True).expect(
        "crypto-mining", state="attempted", step="call_1", attribution="proven", verdict="freeze"
    )
    in_step(*command).connect(POOL, errno=115).expect("crypto-mining", state="succeeded", severity="critical")


@pytest.mark.parametrize("said", [SUBSCRIBED, LOGGED_IN, '{"id":1,"method":"mining.authorize","params":["a","x"]}'])
def test_a_renamed_miner_is_recognised_by_what_its_connection_says(said: str) -> None:
    in_step("/work/compile").connect("127.0.0.1:9").flow("127.0.0.1:9", said).expect("crypto-mining", state="succeeded")


def test_a_grandchild_speaks_for_the_step() -> None:
    book = in_step("/work/run.sh").fork("middle").fork().exit("middle").exec("/work/a").connect("10.0.0.9:443")
    book.flow("10.0.0.9:443", SUBSCRIBED).expect("crypto-mining", step="call_1", attribution="proven")


def test_the_miners_helper_carries_its_hint() -> None:
    in_step("/work/xmrig").fork().exec("/usr/bin/nc", "pool", "3333").connect(POOL, refused=True).expect(
        "crypto-mining"
    )


def test_cpu_time_and_a_pools_port_are_a_weak_sign_that_is_only_recorded() -> None:
    book = in_step("/work/a").connect(POOL)
    me = book.id()
    book.compute((me, 1.0)).expect_nothing().compute((me, 70.0), after=70)
    book.expect("crypto-mining", severity="low", verdict="record")
    book.flow(POOL, SUBSCRIBED).expect("crypto-mining", severity="critical", verdict="freeze")
    assert [verdict["verdict"] for verdict in book.verdicts] == ["record", "freeze"]


@pytest.mark.parametrize(
    "command",
    [
        ("/usr/bin/make", "-j8"),
        ("/usr/bin/grep", "-r", "stratum+tcp://", "README"),
        ("/usr/bin/git", "clone", "https://example.org/xmrig/xmrig"),
        ("/usr/bin/git", "commit", "-m", "mention stratum+tcp://pool"),
        ("/usr/bin/curl", "-O", "https://example.org/xmrig.tar.gz"),
        ("/usr/bin/python3", "-m", "pip", "install", "xmrig-wrapper"),
        ("/home/u/venv/bin/python", "/home/u/venv/bin/pip", "install", "--coin", "stratum+tcp://x"),
        ("/work/app", "--user", "a.b", "--algo", "sort"),
        ("/usr/bin/openssl", "enc", "-a", "randomx"),
        ("/usr/bin/python3", "-c", "strata = {'stratum A': 10}; fetch('https://example.org')"),
        ("/usr/bin/python3", "-c", "import randomxoshiro; stratify(stratum='north')"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_benign_twins_that_connect(command: tuple[str, ...]) -> None:
    in_step(*command).connect("203.0.113.7:443").expect_nothing()


def test_training_that_downloads_and_computes() -> None:
    book = in_step("/usr/bin/python3", "train.py").connect("203.0.113.7:443")
    me = book.id()
    book.compute((me, 1.0)).compute((me, 500.0), after=120).expect_nothing()


def test_json_rpc_to_localhost_is_only_json_rpc() -> None:
    book = in_step("/usr/bin/python3", "-m", "pytest").connect("127.0.0.1:4444")
    book.flow("127.0.0.1:4444", '{"jsonrpc":"2.0","id":1,"method":"login","params":{"user":"a"}}').expect_nothing()


def test_a_job_queue_is_not_a_pool() -> None:
    book = in_step("/work/worker").connect("127.0.0.1:4444")
    book.flow("127.0.0.1:4444", '{"job":{"id":7,"target":"build"}}').expect_nothing()
