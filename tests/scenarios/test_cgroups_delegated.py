"""A user to whom a part of the cgroups was delegated owns its sessions' cgroups, and so does the agent; it stays in.

Root gives a part of its own to another user, as a service manager does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from leaving import LEAVE
from stage import LACKING, SEARCH_PATH

import remit
from remit.boundary.host import find_host
from remit.kernel import landlock, proc

NOBODY = 65534
pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give a part of its cgroups to another user"),
    pytest.mark.skipif(not find_host().cgroup, reason="root may make no cgroup in its own"),
    pytest.mark.skipif(landlock.abi() < 1, reason="without Landlock a cgroup is no wall"),
]


def test_as_the_user_that_a_part_was_delegated_to(tmp_path: Path) -> None:
    """That user owns the session's cgroups, and so does the agent; nothing but Landlock and seccomp is in its way."""
    delegated = make_delegated(f"delegated-{os.getpid()}")
    try:
        patterns = [f"{place}/remit-session-*" for place in delegated]
        script = (
            DELEGATED.replace("LEAVE", repr(LEAVE))
            .replace("PATTERNS", repr(patterns))
            .replace("LACKING", repr(LACKING))
        )
        said = as_nobody(tmp_path, delegated, [sys.executable, "-c", script])
        assert said["host"]["uid"] == NOBODY
        assert said["host"]["cgroup"] is True
        assert said["own"] != []
        assert all(any(path.startswith(f"{place}/remit-session-") for place in delegated) for path in said["own"]), (
            said["own"]
        )
        for told in (said["leave"], said["observed"]):
            assert isinstance(told, dict), told
            assert told["tried"] > 40
            assert (told["through"], told["moved"]) == ([], False)
        assert [path for place in delegated for path in os.listdir(place) if path.startswith("remit-")] == []
    finally:
        for place in delegated:
            os.rmdir(place)


DELEGATED = """\
import json, os, subprocess, sys
from remit import Session
from remit.boundary.host import find_host
from remit.evidence.reader import read_records
from remit.kernel import proc
from remit.plain import plain
os.mkdir("work")
with Session(workspace="work", accept_gaps=LACKING) as session:
    (header,) = (r for r in read_records(session.evidence) if r["kind"] == "session")
    own = []
    inside = open(f"/proc/{header['zygote']}/cgroup").read()
    for mount in proc.cgroup_mounts():
        for line in inside.splitlines():
            number, names, path = line.split(":", 2)
            same = (mount.version == 2) == (number == "0")
            if same and mount.options.issuperset(filter(None, names.split(","))) and "/remit-session-" in path:
                own.append(mount.point + path.removeprefix(mount.root.rstrip("/")))
    told = session.run([sys.executable, "-c", LEAVE, json.dumps(own)], capture_output=True, text=True)
    leave = json.loads(told.stdout) if told.stdout else told.stderr
# Observed, it may do all that a scope could grant.
entry = [sys.executable, "-c", "from remit.cli import entry; entry()", "run", "--observe", "--workspace", "work"]
entry += [*(f"--accept-gap={name}" for name in LACKING), "--"]
told = subprocess.run([*entry, sys.executable, "-c", LEAVE, json.dumps(PATTERNS)], capture_output=True, text=True)
observed = json.loads(told.stdout) if told.stdout else told.stderr
print(json.dumps({"host": plain(find_host()), "own": own, "leave": leave, "observed": observed}))
"""


def make_delegated(name: str) -> list[str]:
    """A cgroup in each hierarchy that remit uses, owned by nobody, as a service manager delegates them."""
    made = []
    for own in proc.own_cgroups(proc.cgroup_mounts()):
        if own.version == 2 or {"memory", "pids", "cpuacct", "freezer"} & set(own.controllers):
            place = f"{own.directory}/{name}"
            os.mkdir(place)
            made.append(place)
            for file in ("", "cgroup.procs", "tasks", "cgroup.subtree_control", "cgroup.threads"):
                if os.path.exists(f"{place}/{file}"):
                    os.chown(f"{place}/{file}", NOBODY, NOBODY)
    return made


def as_nobody(tmp_path: Path, cgroups: list[str], command: list[str]) -> dict[str, Any]:
    home = tmp_path / "home"
    home.mkdir()
    for directory in (home, *home.parents):
        if os.stat(directory).st_uid == 0 and directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            os.chmod(directory, 0o711)
    os.chown(home, NOBODY, NOBODY)

    def become() -> None:
        for place in cgroups:
            Path(f"{place}/cgroup.procs").write_text(str(os.getpid()))
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    environment = {"HOME": str(home), "PATH": SEARCH_PATH, "PYTHONDONTWRITEBYTECODE": "1"}
    package = str(Path(remit.__file__).parents[1])
    try:
        subprocess.run([sys.executable, "-c", "import remit"], cwd=home, env=environment, preexec_fn=become, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"another user cannot run {sys.executable} with remit in {package}")
    done = subprocess.run(
        command, cwd=home, env=environment, preexec_fn=become, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
