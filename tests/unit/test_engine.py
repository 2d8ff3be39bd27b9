"""The engine: pure, deterministic, deaf to its own conclusions, and not silenced by a detector that fails."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from remit.detectors import Context, Detector
from remit.engine import Engine
from remit.engine.follow import follow
from remit.engine.replay import replay
from remit.events import Connect, Event
from remit.evidence.record import FIRST_HASH, encode_record, segment_name
from remit.findings import Sighting
from remit.testing import Playbook


def story() -> Playbook:
    book = Playbook(respond={"reverse-tunnel": "kill"}).step("a", "bash", {"command": "ssh"})
    book.spawn("/usr/bin/ssh", "-NR", "1:localhost:2", "far", step="a").connect("203.0.113.9:22", refused=True)
    return book.open_gpu(refused=True).connect("203.0.113.9:22").end_step("a").end()


def test_the_same_records_give_the_same_bytes_and_recorded_findings_are_no_input(tmp_path: Path) -> None:
    book = story()
    records: list[dict[str, object]] = []
    for record in book.records:
        records += [record, {"n": 0, "time": 0, "kind": "finding", "finding": {"id": "f99"}}, {"kind": "response"}]
    engine = Engine(records[0])
    assert [message for record in records[1:] for message in engine.feed(record)] == book.messages
    result = replay(book.write(tmp_path / "evidence"))
    assert result.identical
    assert result.closed
    assert list(result.recomputed) == book.messages


def test_messages_are_canonical_json_with_every_member_of_the_schema() -> None:
    first = json.loads(story().messages[0])
    assert list(first["finding"]) == [
        "id", "behaviour", "severity", "state", "techniques", "step", "phase", "attribution", "reason", "candidates",
        "origin", "verdict", "clause", "summary", "events",
    ]  # fmt: skip
    assert json.loads(story().messages[1]) == {
        "verdict": {"finding": "f1", "behaviour": "reverse-tunnel", "verdict": "kill"}
    }
    assert json.dumps(first, separators=(",", ":")).encode() == story().messages[0]


@dataclass
class Broken:
    """Raises on the first connect."""

    behaviour: str = "lateral-movement"
    wants: frozenset[type] = frozenset({Connect})

    def feed(self, event: Event, context: Context) -> Iterator[Sighting]:
        raise RuntimeError(f"at {id(self)}")


def test_a_detector_that_raises_becomes_a_finding_once_and_the_others_go_on() -> None:
    def detectors(_: object) -> list[Detector]:
        return [Broken()]

    book = story()
    engine = Engine(book.records[0], detectors=detectors)
    messages = [json.loads(message) for record in book.records[1:] for message in engine.feed(record)]
    (finding, verdict) = messages
    assert finding["finding"]["behaviour"] == "lateral-movement"
    assert finding["finding"]["state"] == "unknown"
    assert finding["finding"]["severity"] == "high"
    assert finding["finding"]["summary"] == "detector failed: RuntimeError"
    assert finding["finding"]["step"] == "a"
    assert verdict["verdict"]["verdict"] == "record"


def test_a_record_that_makes_no_sense_is_a_finding_and_not_the_end() -> None:
    engine = Engine(Playbook().records[0])
    (finding, _) = engine.feed({"n": 2, "time": 0, "kind": "connect"})
    assert json.loads(finding)["finding"]["summary"] == "record cannot be understood: KeyError"
    assert engine.feed({"n": 3, "time": 0, "kind": "a-later-kind"}) == ()


def test_a_session_without_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="not its header"):
        Engine({"n": 1, "time": 0, "kind": "exit", "process": "1:1"})


def test_follow_concludes_from_growing_evidence_and_waits_only_on_the_doorbell(tmp_path: Path) -> None:
    book = story()
    doorbell_read, doorbell = os.pipe()
    output_read, output = os.pipe()
    done: list[bool] = []
    child = threading.Thread(target=lambda: done.append(follow(tmp_path, doorbell_read, output)))
    child.start()
    previous, lines = FIRST_HASH, []
    for record in book.records:
        line, previous = encode_record(record["n"], {k: v for k, v in record.items() if k != "n"}, previous)
        lines.append(line)
    for number, (start, stop) in enumerate([(0, 4), (4, 6), (6, len(lines))], 1):
        with (tmp_path / segment_name(number)).open("wb") as segment:
            for line in lines[start:stop]:
                segment.write(line[:20])
                segment.flush()
                os.write(doorbell, b"!")  # half a line is no line
                segment.write(line[20:])
                segment.flush()
                os.write(doorbell, b"!")
    child.join(20)
    assert done == [True]
    os.close(output)
    assert _messages(output_read) == [*book.messages, b'{"done":{"findings":2}}']
    for descriptor in (doorbell_read, doorbell, output_read):
        os.close(descriptor)


def test_follow_ends_when_the_supervisor_is_gone(tmp_path: Path) -> None:
    story().write(tmp_path)
    (tmp_path / segment_name(1)).write_bytes(b"".join((tmp_path / segment_name(1)).read_bytes().splitlines(True)[:3]))
    doorbell_read, doorbell = os.pipe()
    os.close(doorbell)
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    output_read, output = os.pipe()
    assert follow(directory, doorbell_read, output) is False
    for descriptor in (doorbell_read, directory, output_read, output):
        os.close(descriptor)


def _messages(descriptor: int) -> list[bytes]:
    found = []
    with open(descriptor, "rb", closefd=False) as stream:
        while length := stream.read(4):
            found.append(stream.read(int.from_bytes(length, "big")))
    return found
