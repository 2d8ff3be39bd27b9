"""What the agent writes is never run by remit itself, wherever Python and the linker are told to look for code."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage import Stage, is_sound, records

PLANTED = """
for name in hashlib glob shutil json typing re _bz2 _lzma traceback linecache inspect dataclasses; do
    printf 'import os\\nopen("{root}/escaped", "a").write("%s " + open("/proc/self/status").read())\\n' $name > $name.py
done
echo --token=abc123def456 $(head -c 20 /dev/urandom | base64)
mkdir -p "$TMPDIR/left/deep"; touch "$TMPDIR/left/deep/file"
"""


@pytest.mark.parametrize("path", [".", ":/opt/nothing", "{workspace}"])
def test_modules_in_the_workspace_are_never_imported(stage: Stage, path: str) -> None:
    environment = {**stage.environment, "PYTHONPATH": path.format(workspace=stage.workspace)}
    script = PLANTED.format(root=stage.root)
    report = stage.root / "report.json"
    done = stage.remit("run", "--report", report, "--", "sh", "-c", script, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (stage.root / "escaped").exists()
    assert "redacted" in str(records(stage.evidence(), "exec"))
    assert report.exists()
    is_sound(stage.evidence())


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "LD_PRELOAD", "OPENSSL_CONF"])
def test_a_library_path_in_the_workspace_starts_nothing(stage: Stage, name: str) -> None:
    done = stage.remit("run", "--", "touch", "started", env={**stage.environment, name: f"{stage.workspace}/lib"})
    assert done.returncode == 123
    assert done.stderr.splitlines()[-2:] == [
        f"remit: {name} has remit itself load code from where the agent may write: {stage.workspace}/lib",
        f"hint: unset it, and set it for the command alone: remit run -- env {name}=... COMMAND",
    ]
    assert not (stage.workspace / "started").exists()


def test_a_deep_tree_in_the_temporary_directory_costs_no_verdict_and_no_report(stage: Stage, tmp_path: Path) -> None:
    deep = (
        "import os\nos.chdir(os.environ['TMPDIR'])\n"
        "for _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nraise SystemExit(3)"
    )
    report = tmp_path / "report.json"
    done = stage.remit("run", "--report", report, "--", "python3", "-c", deep)
    assert (done.returncode, done.stderr) == (3, "")
    assert report.exists()
    temporary = Path(records(stage.evidence(), "session")[0]["temporary_directory"])
    assert not temporary.exists()
