"""A program that brings a sandbox is told plainly, never left hanging; where the scope says so it gets namespaces."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from attacks import SECRET, Inside, Open, number

from remit.boundary.mask_mounts import can_mount

needs_namespaces = pytest.mark.skipif(not can_mount(), reason="no user namespace can be had here")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture(scope="module")
def lenient(open_session: Open) -> Inside:
    if os.getuid() == 0:
        pytest.skip("not for root")
    return open_session("nested-sandbox: userns\naccept-gaps: [proc-writable]\n")


@needs("unshare")
def test_a_namespace_is_refused_with_what_to_switch_off(inside: Inside) -> None:
    attempt = inside.run(["unshare", "--user", "--map-root-user", "true"])
    assert attempt.status != 0
    (record,) = attempt.refusals("privilege", operation="unshare")
    assert record["clause"] == "nested-sandbox: refuse (unshare: leave it out)"


@needs("bwrap")
@pytest.mark.parametrize("scoped", ["inside", "lenient"])
def test_bubblewrap_ends_at_once_and_is_named(request: pytest.FixtureRequest, scoped: str) -> None:
    session: Inside = request.getfixturevalue(scoped)
    attempt = session.run(["bwrap", "--ro-bind", "/", "/", "true"])
    assert attempt.status != 0
    refused = attempt.refusals("privilege")
    assert refused
    assert all("bwrap: switch off the sandbox of whoever called it" in record["clause"] for record in refused)


def test_a_second_listener_is_busy_and_named(inside: Inside) -> None:
    # seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, NULL)
    attempt = inside.do("calls.py", "call", number("seccomp"), 1, 8, 0)
    assert attempt.errno == errno.EBUSY
    (record,) = attempt.refusals("privilege", operation="seccomp")
    assert record["clause"] == "nested-sandbox: refuse"


@needs("unshare")
@needs_namespaces
def test_user_namespaces_work_where_the_scope_says_so(lenient: Inside) -> None:
    for flags in (["--user", "--map-root-user"], ["--user", "--map-current-user", "--pid", "--net", "--ipc", "--fork"]):
        attempt = lenient.run(["unshare", *flags, "sh", "-c", "id -u && echo made > $TMPDIR/made"])
        assert (attempt.status, attempt.errors) == (0, ""), flags
        assert [record for record in attempt.records if record.get("refused")] == []


@needs("unshare")
@needs_namespaces
def test_within_a_namespace_the_walls_are_the_same(lenient: Inside, home: Path, outsider: int) -> None:
    tries = {
        "a secret": f"cat {home}/.ssh/id_ed25519",
        "a mount": "mount -t tmpfs none $TMPDIR",
        "another root's files": f"chroot / cat {home}/.ssh/id_ed25519",
        "an outsider": f"kill -9 {outsider}",
        "a file outside": f"echo x > {home}/made",
    }
    for name, command in tries.items():
        attempt = lenient.run(["unshare", "--user", "--map-root-user", "--mount", "--keep-caps", "sh", "-c", command])
        assert attempt.status != 0, name
        assert SECRET not in attempt.errors, name
    connect = [
        "unshare",
        "--user",
        "--map-root-user",
        "--keep-caps",
        "python3",
        "-B",
        f"{lenient.workspace}/network.py",
    ]
    attempt = lenient.run([*connect, "connect", "127.0.0.1", "9"])
    assert attempt.errno == errno.EACCES
    assert len(attempt.refusals("connect", port=9)) == 1


@needs_namespaces
def test_the_supervisor_and_the_rest_of_proc_stay_out_of_reach(lenient: Inside, outsider: int) -> None:
    header = lenient.header() if lenient.run(["true"]).status == 0 else {}
    for pid in (header["supervisor"], header["zygote"], header["deputy"]):
        for name in ("oom_score_adj", "mem", "comm", "clear_refs"):
            attempt = lenient.do("files.py", "write", f"/proc/{pid}/{name}")
            assert attempt.errno in (errno.EACCES, errno.EPERM), (pid, name)
    for name in ("sys/kernel/core_pattern", "sys/kernel/hostname", f"{outsider}/mem"):
        assert lenient.do("files.py", "write", f"/proc/{name}").errno in (errno.EACCES, errno.EPERM), name


def test_the_gap_must_be_accepted_by_name(lenient: Inside) -> None:
    assert lenient.run(["true"]).status == 0
    assert {gap["name"]: gap["accepted"] for gap in lenient.header()["gaps"]}["proc-writable"] is True


CHROMIUM = Path("/usr/lib/chromium/chromium")  # Debian's; what is on the path there is a script around it
PAGE = "<p id=x>no</p><script>document.getElementById('x').textContent = 'said by a ' + 'script'</script>"


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
@pytest.mark.parametrize(("scoped", "switches"), [("inside", ["--no-sandbox"]), ("lenient", [])])
def test_chromium_runs_without_its_sandbox_or_with_it_where_the_scope_says_so(
    request: pytest.FixtureRequest, scoped: str, switches: list[str]
) -> None:
    session: Inside = request.getfixturevalue(scoped)
    (session.workspace / "page.html").write_text(PAGE)
    page, profile = f"file://{session.workspace}/page.html", f"--user-data-dir={session.workspace}/profile"
    command = [str(CHROMIUM), "--headless", "--disable-gpu", *switches, profile, "--dump-dom", page]
    with session.session.step(f"chromium {scoped}", tool="browser"):
        done = session.session.run(command, capture_output=True, text=True, timeout=110)
    assert "said by a script" in done.stdout, done.stderr
