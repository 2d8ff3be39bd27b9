"""A real coding session is observed, a scope is suggested from it, and the same work runs clean beneath that scope."""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage import Stage, is_sound, nobody_left, objections, records

import remit
from remit.report.summary import build_report
from remit.report.text import render_text
from remit.scope.parse import parse_scope

ALMOST_NOTHING = """\
remit: 1
task: day-in-the-life
purpose: Build, test and commit the program in the workspace.
use: [base]
files: {secrets: [~/.ssh]}
otherwise: record
"""

# The Python of these tests is the one that remit runs from, where nobody may leave compiled modules.
WORK = """\
set -e; export PYTHONDONTWRITEBYTECODE=1
cat > twice.c << 'END'
int twice(int n) { return n + n + 1; }
END
cat > main.c << 'END'
#include <stdio.h>
int twice(int);
int main(void) { printf("%d\\n", twice(21)); return 0; }
END
cat > Makefile << 'END'
program: main.o twice.o
	gcc -o $@ $^
END
cat > test_it.py << 'END'
import subprocess
def test_it():
    assert subprocess.check_output(["./program"]) == b"42\\n"
END
git -c init.defaultBranch=main init -q
git config user.name Ada; git config user.email ada@example.org
printf '*.o\\nprogram\\nsite/\\n__pycache__/\\n' > .gitignore
git add -A; git commit -qm 'first'
make
@PYTHON@ -m pytest -q -p no:cacheprovider || echo 'the test fails, as it should'
@EDITOR@
make
@PYTHON@ -m pytest -q -p no:cacheprovider
git commit -qam 'twice is twice'; git log --oneline | cat
@PYTHON@ -m pip install -q --no-cache-dir --no-warn-conflicts --index-url @INDEX@ --target site tiny
PYTHONPATH=site @PYTHON@ -c 'import tiny; tiny.speak()'
cat ../shared/notes.txt
rm -r site; make -s; ./program
"""
# Not ed: tmpfile(3) knows /tmp only, and no scope should grant that.
EDITORS = {
    "vim": "vim -es -u NONE -c '%s/ + 1//' -c wq twice.c",
    "sed": "sed -i 's/ + 1//' twice.c",
}


@pytest.fixture
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A package index on loopback, outside the session."""
    root = tmp_path_factory.mktemp("index")
    folder = root / "simple" / "tiny"
    folder.mkdir(parents=True)
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "def speak():\n    print('tiny speaks')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    handler = functools.partial(_Quiet, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple/"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.mark.skipif(not all(map(shutil.which, ("gcc", "make", "git"))), reason="needs gcc, make and git")
@pytest.mark.parametrize(("editor", "sight"), [("sed", "normal"), ("vim", "full")])
def test_a_day_observed_and_then_within_its_scope(editor: str, sight: str, stage: Stage, index: str) -> None:
    if shutil.which(editor) is None:
        pytest.skip(f"needs {editor}")
    (stage.root / "shared").mkdir()
    (stage.root / "shared" / "notes.txt").write_text("remember\n")
    first = stage.root / "almost-nothing.yaml"
    first.write_text(ALMOST_NOTHING)
    work = WORK.replace("@PYTHON@", sys.executable).replace("@EDITOR@", EDITORS[editor]).replace("@INDEX@", index)

    observed = stage.remit("run", "--observe", "--scope", first, "--", "bash", "-c", work, timeout=180)
    assert observed.returncode == 0, observed.stderr
    assert "tiny speaks\nremember\n42\n" in observed.stdout
    evidence = stage.evidence()
    is_sound(evidence)
    assert [r for r in records(evidence) if r.get("refused")] == []
    report = build_report(evidence)
    assert render_text(report).startswith("NOTHING WAS ENFORCED")
    assert report["session"]["observe"]
    assert {"files", "addresses"} <= {wall["name"] for wall in report["walls"] if not wall["held"]}
    assert report["findings"] == report["denials"] == []
    assert any(act["object"].endswith("twice.c") for act in report["observed"])

    scope = stage.root / "scope.yaml"
    suggested = stage.remit("scope", "suggest", "last", "--output", scope)
    assert (suggested.returncode, suggested.stderr) == (0, "")
    assert stage.remit("scope", "suggest", evidence).stdout == scope.read_text(), "not the same twice"
    checked = stage.remit("scope", "check", scope)
    assert checked.returncode == 0, checked.stderr
    would_be_signed(scope, index)

    shutil.rmtree(stage.workspace)
    stage.workspace.mkdir()
    within = stage.remit(
        "run", "--sight", sight, "--scope", scope, "--evidence", stage.root / "within", "--", "bash", "-c", work,
        timeout=180,
    )  # fmt: skip
    assert within.returncode == 0, within.stderr
    assert "tiny speaks\nremember\n42\n" in within.stdout
    if sight == "full":
        # Refused is only what the suggestion said it would not grant, such as the listing of /etc that pip asks for.
        within_it = build_report(stage.root / "within")
        said = [line for line in scope.read_text().splitlines() if line.startswith("#   ")]
        assert within_it["findings"] == []
        assert [d for d in within_it["denials"] if not any(f"read {d['object']}, " in line for line in said)] == []
    else:
        assert objections(stage.root / "within") == []
    is_sound(stage.root / "within")
    nobody_left(stage.root / "within")


def would_be_signed(path: Path, index: str) -> None:
    """Nothing to write outside workspace and temporary files, nothing to read but what the work is about, no secret."""
    text = path.read_text()
    scope = parse_scope(text.encode(), str(path)).scope
    assert scope.task == "day-in-the-life"
    assert set(scope.use) == {"base", "git", "python"}
    assert set(scope.files.write) <= {"$WORKSPACE", "$TMPDIR"}
    assert scope.files.execute == []
    # An editable install, such as that of remit under test, makes every Python look into its source.
    sources = str(Path(remit.__file__).parents[1])
    assert [place.rpartition("/")[2] for place in scope.files.read if place != sources] == ["notes.txt"]
    port = int(index.rpartition(":")[2].partition("/")[0])
    assert [(grant.cidr, grant.port) for grant in scope.network.connect] == [("127.0.0.1/32", (port, port))]
    assert all(grant.port == (0, 0) for grant in scope.network.listen)
    assert scope.network.unix == []
    assert scope.devices.gpu == "none"
    assert scope.otherwise == "deny"
    assert scope.compute.cpu is not None
    assert len(text.splitlines()) < 50
    assert text.count("#") > 3
