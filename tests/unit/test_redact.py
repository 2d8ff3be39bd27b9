"""Every secret that a rule knows is replaced, whatever it stands in; what is no secret stays, byte for byte."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.evidence.redact import Redactor
from remit.testing import Playbook

# Put together here, so that no scanner of repositories takes them for real ones.
SECRET = "hunter" + "2-Tr0ub4dor"
OPENAI = "sk-" + "proj-4f9Kd83mQz7Lx2Vw"
GITHUB = "ghp" + "_16C7e42F292c6912E7710c838347Ae178B4a"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
AWS_SECRET = "wJalrXUtnFEMI/" + "K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nQyNTUxOQ\n-----END OPENSSH PRIVATE KEY-----\n"

VECTORS: list[tuple[list[str], str]] = [
    (["prog", f"--password={SECRET}"], SECRET),
    (["prog", "--password", SECRET], SECRET),
    (["prog", "--db-password", SECRET, "rest"], SECRET),
    (["prog", "-token", SECRET], SECRET),
    (["prog", f"--api_key={SECRET}"], SECRET),
    (["prog", "--password=with spaces; and & signs"], "with spaces; and & signs"),
    (["prog", "--PassWord", SECRET], SECRET),
    (["xmrig", "-o", "pool:3333", "--pass", SECRET], SECRET),
    (["env", f"PGPASSWORD={SECRET}", "psql"], SECRET),
    (["docker", "run", "-e", f"AWS_SECRET_ACCESS_KEY={AWS_SECRET}", "image"], AWS_SECRET),
    (["curl", "-H", f"Authorization: Bearer {SECRET}", "https://host/"], SECRET),
    (["curl", "-H", f"authorization:Basic {SECRET}", "https://host/"], SECRET),
    (["curl", "-H", f"X-Api-Key: {SECRET}", "https://host/"], SECRET),
    (["curl", "-b", "x", "-H", f"Cookie: session={SECRET}; a=b", "https://host/"], SECRET),
    (["curl", "-u", f"ada:{SECRET}", "https://host/"], SECRET),
    (["/usr/bin/curl", "--user", f"ada:{SECRET}", "https://host/"], SECRET),
    (["git", "clone", f"https://ada:{SECRET}@host/repository.git"], SECRET),
    (["git", "clone", f"https://{GITHUB}@github.com/a/b"], GITHUB),
    (["git", "clone", f"https://x-access-token:{GITHUB}@github.com/a/b"], GITHUB),
    (["redis-cli", "-u", f"redis://:{SECRET}@host:6379"], SECRET),
    (["wget", f"https://host/file?access_token={SECRET}&page=2"], SECRET),
    (["sshpass", "-p", SECRET, "ssh", "host"], SECRET),
    (["sshpass", f"-p{SECRET}", "ssh", "host"], SECRET),
    (["mysql", "-u", "root", f"-p{SECRET}", "db"], SECRET),
    (["prog", OPENAI], OPENAI),
    (["prog", f"key is {OPENAI}, ok"], OPENAI),
    (["prog", GITHUB], GITHUB),
    (["prog", AWS], AWS),
    (["prog", JWT], JWT),
    (["prog", "glpat" + "-aB3dE6gH9jK2mN5pQ8sT"], "aB3dE6gH9jK2mN5pQ8sT"),
    (["prog", "xoxb" + "-123456789012-abcdef"], "123456789012-abcdef"),
    (["sh", "-c", f"cat > k <<E\n{PEM}E"], "b3BlbnNzaC1rZXk"),
    (["sh", "-c", PEM[:60]], "b3BlbnNz"),
    (["sh", "-c", f"export API_TOKEN={SECRET} && make"], SECRET),
    (["bash", "-lc", f"API_TOKEN={SECRET} make"], SECRET),
    (["sh", "-c", f"prog --password '{SECRET} two' x"], f"{SECRET} two"),
    (["sh", "-c", f"curl -s -u ada:{SECRET} https://host | jq ."], SECRET),
    (["sh", "-c", f"sshpass -p '{SECRET}' ssh host"], SECRET),
    (["sh", "-c", f"mysqldump -u root -p{SECRET} db"], SECRET),
    (["python", "-c", f"connect(password='{SECRET}')"], SECRET),
    (["python", "-c", f'x = {{"api_key": "{SECRET}"}}'], SECRET),
    (["sh", "-c", f'curl -d "{{\\"password\\": \\"{SECRET}\\"}}" https://host'], SECRET),
    (["sh", "-c", f"cat > c.yaml <<E\npassword: {SECRET}\nE"], SECRET),
]

# Whoever reads the evidence needs these, and so do detectors.
PLAIN: list[list[str]] = [
    ["git", "checkout", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"],
    ["sha256sum", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ["prog", "--id", "550e8400-e29b-41d4-a716-446655440000"],
    ["gcc", "-I/usr/include", "-o", "/home/ada/project/build/lib.linux-x86_64-cpython-311/remit/tokenizer.o"],
    ["ls", "/home/ada/.aws/credentials", "/run/secrets/token", "/etc/passwd", "~/.ssh/id_ed25519", "key.pem"],
    [
        "xmrig",
        "-o",
        "stratum+tcp://pool.example.org:3333",
        "-u",
        "4" + "8edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5",
    ],
    ["ssh", "-NR", "8080:localhost:22", "ada@far.example.org", "-p", "2222", "-i", "/home/ada/.ssh/id"],
    ["prog", "--max-tokens=4096", "--tokenizer=bert", "--token-file=/run/token", "--pad-token-id", "0"],
    ["env", "TOKENIZERS_PARALLELISM=false", "MONKEY=1", "PWD=/work", "OLDPWD=/", "COMPASS=north", "make"],
    ["sh", "-c", 'curl -H "Authorization: Bearer $TOKEN" -u "$USER:$PASSWORD" https://host --password "$P"'],
    ["sh", "-c", "export PASSWORD=$(pass show x); TOKEN=; read -s PASSWORD"],
    ["python", "-c", "def f(token: str, password=None, secret=True) -> Token: pass"],
    ["grep", "-rn", "the password must be set, or the secret: none", "src"],
    ["mkdir", "-p", "a/b"],
    ["pip", "install", "sk-learn-contrib-image-preprocessing", "keyring", "passlib==1.7.4"],
    ["curl", "https://host:8443/path?page=2&user=ada#top", "http://[::1]:80/"],
    ["scp", "ada@host:file", "user@host:/a:b@c"],
    ["prog", "task-sk-1", "risk-0123456789abcdefghij", "\udcff\u2028", ""],
]


def redacted(words: list[str], **environment: str) -> dict[str, Any]:
    return Redactor(environment).members("exec", {"process": "1:1", "image": words[0], "arguments": words})


@pytest.mark.parametrize(("words", "secret"), VECTORS, ids=lambda value: value if isinstance(value, str) else value[0])
def test_a_secret_is_replaced_in_a_vector_and_in_step_arguments(words: list[str], secret: str) -> None:
    record = redacted(words)
    assert secret not in str(record)
    assert sum(record["redacted"].values()) == 1
    assert len(record["arguments"]) == len(words)
    for arguments in (words, {"argv": words}, [{"deep": [words]}]):
        step = Redactor().members("step", {"step": "a", "arguments": arguments})
        assert secret not in str(step)
        assert step["step"] == "a"


@pytest.mark.parametrize(("words", "secret"), VECTORS[:24], ids=lambda v: v if isinstance(v, str) else v[0])
def test_the_same_in_a_line_of_shell(words: list[str], secret: str) -> None:
    if " " not in secret:
        line = " ".join(f"'{word}'" if " " in word else word for word in words)
        assert secret not in str(Redactor().members("step", {"arguments": {"command": line}}))


@pytest.mark.parametrize("words", PLAIN, ids=lambda words: words[0])
def test_what_is_no_secret_stays(words: list[str]) -> None:
    redactor = Redactor({"LANG": "C.UTF-8", "HOME": "/home/ada", "SSH_AUTH_SOCK": "/run/agent", "CI": "1"})
    for _ in range(2):  # the second time from memory
        assert redactor.members("exec", {"arguments": words}) == {"arguments": words}
    assert redactor.members("step", {"arguments": " ".join(words)}) == {"arguments": " ".join(words)}


def test_hosts_users_and_wallets_survive_beside_a_secret() -> None:
    words = ["miner", "-o", f"stratum+tcp://4wallet.worker:{SECRET}@pool.example.org:3333", f"--api-key={SECRET}"]
    address, key = redacted(words)["arguments"][2:]
    assert re.fullmatch(r"stratum\+tcp://4wallet\.worker:<redacted:url:[0-9a-f]{8}>@pool\.example\.org:3333", address)
    assert key.startswith("--api-key=<redacted:option:")


def test_equal_secrets_have_equal_digests_in_one_session_only() -> None:
    one, other = Redactor(), Redactor()

    def digest(redactor: Redactor, secret: str) -> str:
        return str(redactor.members("exec", {"arguments": ["x", f"--token={secret}"]})["arguments"][1]).split(":")[-1]

    assert digest(one, SECRET) == digest(one, SECRET)
    assert digest(one, SECRET) != digest(one, SECRET + "x")
    assert digest(one, SECRET) != digest(other, SECRET)


def test_values_of_credential_variables_are_known_wherever_they_appear() -> None:
    redactor = Redactor(
        {"OPENAI_KEY": "plainvalue1", "DB_PASS": "short", "CI_TOKEN": "/path/to/it", "MODE": "plainmode1"}
    )
    record = redactor.members(
        "open", {"path": "/work/plainvalue1/plainmode1", "asked": "plainvalue1plainvalue1", "wall": "files"}
    )
    assert "plainvalue1" not in str(record)
    assert record["path"].endswith("/plainmode1")
    assert record["redacted"] == {"environment": 3}
    for words in (["a", "short"], ["a", "/path/to/it"]):
        assert "redacted" not in redactor.members("exec", {"arguments": words})


def test_members_named_for_a_secret_are_one() -> None:
    arguments = {
        "url": "https://host",
        "headers": {"X-Token": "abc"},
        "password": "x",
        "max_tokens": "100",
        "secret": "",
    }
    record = Redactor().members("step", {"arguments": arguments})
    assert record["arguments"]["headers"]["X-Token"].startswith("<redacted:member:")
    assert record["arguments"]["password"].startswith("<redacted:member:")
    assert {name: record["arguments"][name] for name in ("url", "max_tokens", "secret")} == {
        "url": "https://host",
        "max_tokens": "100",
        "secret": "",
    }
    assert record["redacted"] == {"member": 2}


def test_what_joins_records_is_never_touched() -> None:
    members = {"process": "1:1", "step": "password=x", "clause": "token=x", "tool": "secret=x"}
    assert Redactor().members("exec", members) == members
    assert Redactor().members("fork", {"step": "password=x"}) == {"step": "password=x"}


@given(st.lists(st.text(max_size=80), max_size=6))
def test_any_words_keep_their_number_and_are_redacted_once(words: list[str]) -> None:
    redactor = Redactor({"A_TOKEN": "known-value"})
    once = redactor.members("exec", {"arguments": words})
    assert len(once["arguments"]) == len(words)
    again = redactor.members("exec", {"arguments": once["arguments"]})
    assert again == {"arguments": once["arguments"]}


@pytest.mark.parametrize(
    "text",
    ["token=", "sk-", "://a:", "a.eyJaaaaaaaa.", "password='", "-----BEGIN PRIVATE KEY-----", "curl ", "mysql -u ",
     "bearer ", "authorization: ", " --a-b-c-", "token:", "cookie:", "secret   ", "--a-", "a.b-", "passwd", "\\\"key"],
)  # fmt: skip
def test_no_text_takes_more_time_than_its_length_asks(text: str) -> None:
    """An agent writes the text, and everybody waits: eight times the text must not take much more than eight times."""

    def seconds(size: int) -> float:
        argument = (text * size)[:size] + "=token"
        best = 1e9
        for _ in range(3):
            redactor = Redactor()
            began = time.thread_time()
            redactor.members("exec", {"arguments": ["bash", "-c", argument]})
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(64000) < 24 * max(seconds(8000), 1e-4)


MINERS = [
    ["/work/cc1", "-o", f"stratum+tcp://4wallet.worker:{SECRET}@203.0.113.7:3333"],
    ["/work/train", "-a", "rx/0", "-u", "4" + "A" * 94, "--pass", SECRET, "-o", "203.0.113.7:3333"],
    ["/usr/bin/python3", "-c", f"s.send(json.dumps({{'method': 'mining.authorize', 'password': '{SECRET}'}}))"],
    ["/work/train", f"--url=stratum+ssl://4wallet:{SECRET}@203.0.113.7:443", f"--password={SECRET}"],
]


@pytest.mark.parametrize("words", MINERS, ids=lambda words: words[0])
def test_a_detector_sees_in_redacted_words_what_it_saw_before(words: list[str]) -> None:
    changed = redacted(words)["arguments"]
    assert SECRET not in str(changed)
    for said in (words, changed):
        book = Playbook().step("a").spawn("/bin/sh", step="a").fork().exec(said[0], *said[1:])
        book.connect("203.0.113.7:3333", refused=True).expect("crypto-mining", state="attempted", step="a")
