"""Whatever is flipped, cut, swapped or repeated in the evidence of a real session is found, and its place is named."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import Stage, is_sound

from remit.boundary.host import find_host
from remit.evidence.chain import verify
from remit.evidence.keys import read_public_key
from remit.evidence.record import segment_name
from remit.evidence.signatures import Signatures

TRIES = 24
SEEDS = range(8)
# Programs, files, a refused connect, a background job: records of most kinds.
WORK = """\
import os, socket, subprocess
for number in range(30):
    with open(f"file-{number}", "w") as file:
        file.write("x" * number)
    subprocess.run(["/bin/sh", "-c", f"cat file-{number} > copy; echo $1", "shell", "\\u2028", "w\\udcffrd"])
try:
    socket.create_connection(("127.0.0.1", 9))
except OSError:
    pass
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], bytes]:
    """The lines of a real session's evidence, and the key that signed it."""
    if not find_host().seccomp_notify:
        pytest.skip("needs seccomp user notification")
    stage = Stage(tmp_path_factory.mktemp("stage"))
    for directory in ("workspace", "home", "state", "cache"):
        (stage.root / directory).mkdir()
    done = stage.remit("run", "--", sys.executable, "-c", WORK)
    assert done.returncode == 0, done.stderr
    is_sound(stage.evidence())
    (stage.root / "public.pem").write_text(stage.remit("key").stdout)
    lines = (stage.evidence() / segment_name(1)).read_bytes().splitlines(keepends=True)
    assert len(lines) > 200
    return lines, read_public_key(stage.root / "public.pem")


# Each takes the lines and where to act, and returns what is left and the first record that is not what was written.
Tampering = Callable[[list[bytes], random.Random], tuple[list[bytes], int]]


def flip(lines: list[bytes], chance: random.Random) -> tuple[list[bytes], int]:
    index = chance.randrange(len(lines))
    line = bytearray(lines[index])
    # Not the newline of the last line: without it the line is one that was torn, which is told as such.
    position = chance.randrange(len(line) - (index == len(lines) - 1))
    line[position] ^= 1 << chance.randrange(8)
    return [*lines[:index], bytes(line), *lines[index + 1 :]], index + 1


def cut(lines: list[bytes], chance: random.Random) -> tuple[list[bytes], int]:
    first = chance.randrange(len(lines) - 1)
    after = chance.randrange(first + 1, len(lines))
    return lines[:first] + lines[after:], first + 1


def swap(lines: list[bytes], chance: random.Random) -> tuple[list[bytes], int]:
    one, other = sorted(chance.sample(range(len(lines)), 2))
    changed = list(lines)
    changed[one], changed[other] = lines[other], lines[one]
    return changed, one + 1


def repeat(lines: list[bytes], chance: random.Random) -> tuple[list[bytes], int]:
    index, place = chance.randrange(len(lines)), chance.randrange(len(lines) + 1)
    # A record that is put where it was before, or right behind itself, is first found in the place behind.
    return [*lines[:place], lines[index], *lines[place:]], place + (2 if place == index else 1)


def write(directory: Path, lines: list[bytes], chance: random.Random) -> None:
    """As one segment, or over several: a border of segments hides nothing."""
    directory.mkdir()
    count = chance.choice((1, 3))
    borders = [0, *sorted(chance.sample(range(1, len(lines)), count - 1)), len(lines)]
    for number in range(count):
        part = b"".join(lines[borders[number] : borders[number + 1]])
        (directory / segment_name(number + 1)).write_bytes(part)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tamper", [flip, cut, swap, repeat])
def test_tampering_is_found_and_placed(
    recorded: tuple[list[bytes], bytes], tamper: Tampering, seed: int, tmp_path: Path
) -> None:
    lines, key = recorded
    chance = random.Random(f"{tamper.__name__} {seed}")
    for number in range(TRIES):
        changed, place = tamper(lines, chance)
        assert changed != lines
        directory = tmp_path / str(number)
        write(directory, changed, chance)
        for check_signature in (None, Signatures(key).problem):
            damage = verify(directory, check_signature=check_signature).damage
            assert damage is not None, (seed, number)
            assert damage.n == place, (seed, number, damage)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_tail_is_found(recorded: tuple[list[bytes], bytes], seed: int, tmp_path: Path) -> None:
    """Against the closing record, against the key, and against a head that was noted."""
    lines, key = recorded
    head = json.loads(lines[-1])["hash"]
    chance = random.Random(seed)
    data = b"".join(lines)
    for number in range(TRIES):
        kept = data[: chance.randrange(1, len(data))]
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / segment_name(1)).write_bytes(kept)
        result = verify(directory, check_signature=Signatures(key).problem, noted_head=head)
        whole = kept.count(b"\n")
        assert result.whole
        assert result.records == whole
        assert result.torn is not kept.endswith(b"\n")
        assert result.noted is None
        # The closing record may be left when what follows it is cut; then the key does not vouch for it.
        assert not result.closed or (whole == len(lines) - 1 and result.unsigned > 0)
