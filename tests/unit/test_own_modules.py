"""Remit's own processes load code only from where the agent cannot write."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

import remit
from remit.cli.libraries import check_libraries
from remit.cli.own_modules import keep_to_own_modules
from remit.digest import keyed, sha256
from remit.errors import BoundaryError
from remit.plan import PathGrant

WRITABLE = (PathGrant("/work", ("read", "write"), "files.write[0]"), PathGrant("/usr", ("read",), "use:base@1"))


def test_modules_are_looked_for_only_in_places_of_pythons_and_remits_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = [sys.prefix + "/lib", sys.base_prefix + "/lib/python3", str(Path(remit.__file__).parents[1])]
    monkeypatch.setattr(sys, "path", ["", ".", str(tmp_path), "relative", *own, f"{sys.base_prefix}-other/lib"])
    keep_to_own_modules()
    assert sys.path == own


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_LIBRARY_PATH", "/usr/lib:/work/lib"),
        ("LD_LIBRARY_PATH", "/usr/lib;/work"),
        ("LD_PRELOAD", "/usr/lib/a.so /work/b.so"),
        ("LD_AUDIT", "/work/never/made.so"),
        ("OPENSSL_CONF", "/usr/../work/openssl.cnf"),
    ],
)
def test_a_library_path_that_the_agent_may_write_is_refused(name: str, value: str) -> None:
    with pytest.raises(BoundaryError, match=f"{name} has remit itself load code"):
        check_libraries({name: value}, WRITABLE, observe=False)
    check_libraries({name: value}, WRITABLE[1:], observe=False)


def test_an_empty_element_is_the_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grants = (PathGrant(str(tmp_path), ("write",), "files.write[0]"),)
    monkeypatch.chdir(tmp_path)
    for value in ("/usr/lib:", ":/usr/lib", "", "lib"):
        with pytest.raises(BoundaryError, match="LD_LIBRARY_PATH"):
            check_libraries({"LD_LIBRARY_PATH": value}, grants, observe=False)
    with pytest.raises(BoundaryError):
        check_libraries({"LD_LIBRARY_PATH": str(tmp_path)}, (), observe=True)
    check_libraries({"LD_LIBRARY_PATH": "/usr/lib/x86_64-linux-gnu"}, grants, observe=False)


def test_digests_are_those_of_the_standard_library() -> None:
    for data in (b"", b"x" * 1000):
        assert sha256(data) == hashlib.sha256(data).hexdigest()
        assert keyed(data, b"key", 4) == hashlib.blake2b(data, key=b"key", digest_size=4).hexdigest()
    assert not hasattr(sys.modules["remit.digest"], "hashlib")
