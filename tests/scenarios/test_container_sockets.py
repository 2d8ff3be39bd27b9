"""In a stock container, where no socket can be taken, what is granted works all the same, and no more than that."""

from __future__ import annotations

import errno
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from stage import REMIT, Stage, is_sound, objections, records

HERE = Path(__file__).parent
HOSTS = ("127.0.0.1", "::1")

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the outer filter is written for x86-64")


@contextmanager
def listening(host: str = "127.0.0.1", greeting: bytes = b"") -> Iterator[tuple[socket.socket, int]]:
    """An outsider's server that greets, and sends back what it hears."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=512) as server:

        def answer(end: socket.socket) -> None:
            with end, suppress(OSError):
                end.sendall(greeting)
                while data := end.recv(65536):
                    end.sendall(data)

        def serve() -> None:
            while True:
                try:
                    end, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(end,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server, server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as end:
        end.bind((host, 0))
        port: int = end.getsockname()[1]
        return port


def granting(stage: Stage, connect: list[dict[str, Any]], listen: list[dict[str, Any]], udp: str = "[]") -> Path:
    scope = stage.root / "scope.yaml"
    network = f"{{connect: {json.dumps(connect)}, listen: {json.dumps(listen)}, udp: {udp}}}"
    scope.write_text(
        "remit: 1\ntask: t\nuse: [base, python]\nfiles: {write: [$WORKSPACE, $TMPDIR]}\n"
        f"network: {network}\naccept-gaps: []\n"
    )
    return scope


def run(stage: Stage, scope: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "outer_filter.py"), *REMIT, "run", "--scope", str(scope), "--", *command],
        cwd=stage.workspace,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def inside(stage: Stage, scope: Path, *words: object) -> dict[str, Any]:
    """Run one act of the program inside, and return what it saw."""
    shutil.copy(HERE / "inside_sockets.py", stage.workspace)
    done = run(stage, scope, sys.executable, "-B", "inside_sockets.py", *map(str, words))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def seen(stage: Stage, kind: str) -> list[tuple[Any, ...]]:
    is_sound(stage.evidence())
    named = ("operation", "address", "port", "errno", "refused")
    return [tuple(record.get(name) for name in named) for record in records(stage.evidence(), kind)]


@pytest.mark.parametrize("host", HOSTS)
def test_a_granted_connect_is_done_on_the_agents_own_socket(stage: Stage, host: str) -> None:
    with listening(host) as (_, port), listening(host) as (_, forbidden):
        closed = free_port(host)
        grants = [{"cidr": host, "port": port}, {"cidr": host, "port": closed}]
        scope = granting(stage, grants, [{"cidr": host, "port": 0}])
        said = inside(stage, scope, "connects", host, port, closed, forbidden)
    assert said == {
        "closed": errno.ECONNREFUSED,
        "forbidden": errno.EACCES,
        "then": 0,
        "again": errno.EISCONN,
        "bind": errno.EINVAL,
        "listen": errno.EINVAL,
        "peer": port,
        "options": [1, 1],
        "no socket": errno.ENOTSOCK,
        "heard": "ping",
    }
    assert seen(stage, "connect") == [
        (None, host, closed, errno.ECONNREFUSED, False),
        (None, host, forbidden, errno.EACCES, True),
        (None, host, port, 0, False),
        (None, host, port, errno.EISCONN, False),
    ]


@pytest.mark.parametrize("host", HOSTS)
def test_a_connect_that_does_not_wait_ends_as_it_would(stage: Stage, host: str) -> None:
    with listening(host) as (_, port):
        closed = free_port(host)
        grants = [{"cidr": host, "port": port}, {"cidr": host, "port": closed}]
        said = inside(stage, granting(stage, grants, []), "without_waiting", host, port, closed)
        words = [sys.executable, "-B", "inside_sockets.py", "without_waiting", host, str(port), str(closed)]
        outside = subprocess.run(words, cwd=stage.workspace, capture_output=True, text=True, check=True, timeout=60)
    assert said == json.loads(outside.stdout)
    assert (said["events"], said["error"], said["again"][1], said["retried"][2]) == (1, 0, errno.EISCONN, port)
    assert {(port_, refused) for _, _, port_, _, refused in seen(stage, "connect")} == {(port, False), (closed, False)}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("own", [False, True])
def test_a_server_of_ones_own_serves_and_gives_its_port_back(stage: Stage, host: str, own: bool) -> None:
    network = "self" if own else host
    grants = [{"cidr": network, "port": "1024-65535"}]
    said = inside(stage, granting(stage, grants, [{"cidr": network, "port": "0"}, *grants]), "serve", host)
    assert said == {
        "unbound": errno.EACCES,
        "second listen": 0,
        "heard": "hello",
        "on accepted": errno.EACCES,
        "closed": errno.ECONNREFUSED,
        "bound again": 0,
        "listening again": 0,
        "refused port": errno.EACCES,
    }
    binds = [(operation, error) for operation, _, _, error, _ in seen(stage, "bind")]
    assert binds.count(("listen", errno.EACCES)) == 1
    assert binds.count(("bind", errno.EACCES)) == 1


def test_self_is_no_service_of_the_hosts(stage: Stage) -> None:
    with listening() as (_, port):
        scope = granting(stage, [{"cidr": "self", "port": "1024-65535"}], [])
        assert inside(stage, scope, "connect", "127.0.0.1", port) == {"error": errno.EACCES}
    assert seen(stage, "connect") == [(None, "127.0.0.1", port, errno.EACCES, True)]


def test_real_programs_work(stage: Stage) -> None:
    handler = http.server.SimpleHTTPRequestHandler
    handler.log_message = lambda *words: None  # type: ignore[method-assign]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        grants = [{"cidr": "127.0.0.1", "port": "1024-65535"}]
        both = [{"cidr": host, "port": "0-65535"} for host in HOSTS]
        scope = granting(stage, grants, both)
        said = inside(stage, scope, "programs", port)
        assert said["urllib"] > 0
        assert said["asyncio"] > 0
        assert said["names"]
        assert objections(stage.evidence()) == []
        if shutil.which("curl"):
            shutil.rmtree(stage.evidence())
            done = run(stage, scope, "curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout
        server.shutdown()


def test_a_changing_address_never_leads_where_no_grant_does(stage: Stage) -> None:
    with listening() as (_, port), socket.create_server(("127.0.0.1", 0)) as forbidden:
        wrong = forbidden.getsockname()[1]
        scope = granting(stage, [{"cidr": "127.0.0.1", "port": port}], [])
        said = inside(stage, scope, "races", "127.0.0.1", port, wrong, 400)
        forbidden.settimeout(0)
        with pytest.raises(BlockingIOError):
            forbidden.accept()
    assert set(said) == {"0", "EACCES"}
    # What was judged is what was done, to the last one.
    told = Counter((port_, refused) for _, _, port_, _, refused in seen(stage, "connect"))
    assert told == {(port, False): said["0"], (wrong, True): said["EACCES"]}


def test_a_number_that_means_something_else_meanwhile_harms_nobody(stage: Stage) -> None:
    with listening() as (_, port):
        scope = granting(stage, [{"cidr": "127.0.0.1", "port": port}], [])
        said = inside(stage, scope, "swaps", "127.0.0.1", port, 300)
    assert set(said) <= {"0", "ENOTSOCK", "EACCES", "EISCONN"}
    assert {port_ for _, _, port_, _, _ in seen(stage, "connect")} == {port}


def test_what_a_connection_carries_is_sampled(stage: Stage) -> None:
    with listening(greeting=b"SSH-2.0-test\r\n") as (_, port):
        scope = granting(stage, [{"cidr": "127.0.0.1", "port": port}], [])
        said = inside(stage, scope, "stay", "127.0.0.1", port, 2.2)
    assert said == {"heard": "SSH-2.0-test\r\n"}
    samples = [record for record in records(stage.evidence(), "flow") if record["operation"] == "sample"]
    assert "".join(sample["first_bytes"] for sample in samples).startswith("SSH-2.0-test")
    assert samples[-1]["bytes_out"] in (1000, 1001)  # some kernels count the SYN
    assert samples[-1]["bytes_in"] == 1014


def test_a_close_is_not_held_back(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        waited: list[float] = []

        def serve() -> None:
            end, _ = server.accept()
            began = time.monotonic()
            with end:
                end.recv(1)
            waited.append(time.monotonic() - began)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        inside(stage, granting(stage, [{"cidr": "127.0.0.1", "port": port}], []), "leave", "127.0.0.1", port)
        thread.join(5)
    assert waited[0] < 1, waited


def test_descriptors_are_the_agents_to_count(stage: Stage) -> None:
    assert inside(stage, granting(stage, [], []), "limits") == {"error": errno.EMFILE, "held": True}
    is_sound(stage.evidence())


def test_datagrams_stay_refused_and_the_refusal_says_why(stage: Stage) -> None:
    scope = granting(stage, [], [], "[{cidr: 127.0.0.1, port: 53}]")
    assert inside(stage, scope, "datagrams") == {"error": errno.EACCES}
    (refused,) = [record for record in records(stage.evidence()) if record.get("refused")]
    assert refused["clause"].startswith("sockets-not-taken")
    is_sound(stage.evidence())
