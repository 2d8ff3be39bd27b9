"""Claims fill gaps as likely, and never move or hide what was seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.attribution.claims import IN_FORCE_MAX
from remit.attribution.steps import Attributor
from remit.claims import CLAIMED, LINE_MAX
from remit.engine.decode import decode
from remit.errors import StepError
from remit.evidence.redact import Redactor
from remit.findings import Attribution
from remit.report.summary import build_report
from remit.report.text import render_text
from remit.supervisor import claims as claims_module
from remit.supervisor import steps
from remit.supervisor.claims import ClaimsSocket, NoClaim, read_claim
from remit.supervisor.processes import ProcessTable
from remit.supervisor.steps import Steps
from remit.testing import Playbook


def claim(book: Playbook, mark: str, step: str | None, by: str = "agent", **more: Any) -> Playbook:
    body = {"tool": "bash", "arguments": None, "source": "hook", **more}
    return book.add("claim", process=book.id(by), mark=mark, step=step, **body)


def agent() -> Playbook:
    """The command of the session, which no step is known of."""
    return Playbook().spawn("/usr/bin/agent", source="run", name="agent")


def test_a_claim_fills_a_gap_as_likely_and_what_it_started_stays_with_it() -> None:
    book = claim(agent(), "begin", "t1", arguments={"command": "make"})
    book.fork("make", of="agent").exec("/usr/bin/make").fork("cc").exec("/usr/bin/cc")
    for name in ("make", "cc"):
        found = book.attribution(name)
        assert (found.step, found.attribution, found.birth_step) == ("claim:t1", "likely", "claim:t1")
    claim(book, "end", "t1")
    book.fork("later", of="agent")
    assert book.attribution("cc").step == "claim:t1"
    assert (book.attribution("later").step, book.attribution("agent").attribution) == (None, "unknown")


def test_of_several_claims_all_are_candidates_but_those_around_others() -> None:
    book = claim(claim(claim(agent(), "begin", "task"), "begin", "a", within="task"), "begin", "b", within="task")
    book.fork("child", of="agent")
    found = book.attribution("child")
    assert (found.step, found.candidates) == (None, ("claim:a", "claim:b"))
    claim(claim(book, "end", "a"), "end", "b")
    assert book.attribution("agent").step == "claim:task"


def test_the_end_of_a_group_ends_its_claims_and_no_others() -> None:
    book = claim(claim(claim(agent(), "begin", "a", group="x"), "begin", "b", group="y"), "end", None, group="x")
    assert book.attribution("agent").candidates == ("claim:b",)


def test_what_is_claimed_late_fills_nothing() -> None:
    book = claim(agent(), "past", "t1", began=1, ended=2)
    assert book.attribution("agent").attribution == "unknown"


def test_a_forged_claim_of_a_real_step_changes_nothing_and_is_named_apart(tmp_path: Path) -> None:
    """The agent's job of step 1 claims to be step 2, and that step 2, which is under way, has ended."""
    book = Playbook().step("call_1").spawn("/bin/bash", step="call_1", name="job").end_step("call_1")
    book.step("call_2").spawn("/bin/bash", step="call_2", name="work")
    for mark, step in (("begin", "call_2"), ("end", "call_2"), ("end", "call_1"), ("begin", "call_3")):
        claim(book, mark, step, by="job")
    book.fork("child", of="work").connect("203.0.113.9:22", refused=True)
    book.fork("other", of="job").connect("203.0.113.9:23", refused=True)
    for name, step in (("work", "call_2"), ("child", "call_2"), ("job", "call_1"), ("other", "call_1")):
        assert (book.attribution(name).step, book.attribution(name).attribution) == (step, "proven")
    report = build_report(book.end_step("call_2").end().write(tmp_path / "evidence"))
    assert [step["id"] for step in report["steps"]] == ["call_1", "call_2"]
    said = {item["id"]: (item["same_id_as_step"], item["heeded"], item["event_count"]) for item in report["claims"]}
    assert said == {"claim:call_2": ("call_2", False, 0), "claim:call_3": (None, False, 0)}
    assert {(denial["step"], denial["attribution"]) for denial in report["denials"]} == {
        ("call_2", "proven"), ("call_1", "proven"),
    }  # fmt: skip
    assert "claim:call_2  bash" in render_text(report)


def test_a_claim_neither_hides_nor_survives_into_a_step_seen_from_outside() -> None:
    book = claim(agent(), "begin", "t1")
    book.fork("shell", of="agent").exec("/bin/bash")
    assert book.attribution("shell").step == "claim:t1"
    book.step("call_1", source="gateway")
    book.fork("child", of="shell")
    for name in ("agent", "shell", "child"):
        assert (book.attribution(name).candidates, book.attribution(name).step) == (("call_1",), "call_1")


def test_an_operators_command_is_no_claimed_steps() -> None:
    book = claim(agent(), "begin", "t1").spawn("/bin/bash", source="exec", name="operator")
    assert book.attribution("operator").attribution == "unknown"


def test_only_so_many_claims_are_in_force() -> None:
    book = agent()
    for number in range(3 * IN_FORCE_MAX):
        claim(book, "begin", f"t{number}")
    assert len(book.attribution("agent").candidates) == IN_FORCE_MAX


ACTS = st.sampled_from(
    ["begin", "end", "fork", "claim begin", "claim end", "claim all", "claim past", "spawn", "exit", "shared"]
)


@given(st.lists(st.tuples(ACTS, st.integers(0, 3), st.integers(0, 5)), max_size=40))
def test_with_or_without_claims_everything_seen_from_outside_is_the_same(acts: list[tuple[str, int, int]]) -> None:
    """Where the evidence without claims names a step or a candidate, claims of whatever kind change nothing."""
    book, names, open_steps, used = agent(), ["agent"], [], 0
    for act, number, who in acts:
        name, step = names[who % len(names)], f"s{number}"
        if act == "begin":
            used += 1
            open_steps.append(f"{step}.{used}")
            book.step(open_steps[-1], source="gateway")
        elif act in ("end", "shared") and open_steps:
            book.end_step(open_steps.pop(number % len(open_steps)), shared=[name] if act == "shared" else [])
        elif act == "fork":
            names.append(f"p{len(names)}")
            book.fork(names[-1], of=name)
        elif act == "spawn" and open_steps:
            names.append(f"p{len(names)}")
            book.spawn(step=open_steps[number % len(open_steps)], name=names[-1])
        elif act.startswith("claim"):
            mark = {"begin": "begin", "end": "end", "all": "end", "past": "past"}[act.partition(" ")[2]]
            target = None if act == "claim all" else (open_steps or [step])[-1] if who % 2 else step
            claim(book, mark, target, by=name, group="g")
        book.act_as(names[who % len(names)]).connect("203.0.113.9:22")
    for one, other in zip(charges(book.records), charges(book.records, claims=False), strict=True):
        if other.attribution == "unknown" and not other.candidates and one != other:
            assert one.attribution == "likely"
            assert all(name.startswith(CLAIMED) for name in one.candidates)
        else:
            assert one == other


def charges(records: list[dict[str, Any]], *, claims: bool = True) -> list[Attribution]:
    attributor, found = Attributor(), []
    for record in records:
        if claims or record["kind"] != "claim":
            event = decode(record)
            found += [charge] if event is not None and (charge := attributor.observe(event)) is not None else []
    return found


def test_secrets_in_claims_are_redacted() -> None:
    said = read_claim(
        b'{"mark":"begin","step":"a","arguments":{"command":"curl -H \'Authorization: Bearer abcdef1234567890\' x"}}'
    )
    assert "abcdef1234567890" not in str(Redactor().members("claim", said))


def test_no_step_from_outside_can_be_called_as_a_claim_is() -> None:
    assert steps.CLAIMED == CLAIMED
    with pytest.raises(StepError, match="is one of a claim"):
        Steps(lambda kind, **members: 0, None, None).begin({"step": "claim:a"}, "sdk")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"mark":"begin"}',
        b'{"mark":"end"}',
        b'{"mark":"start","step":"a"}',
        b'{"mark":"begin","step":""}',
        b'{"mark":"begin","step":7}',
        b'{"mark":"begin","step":"a","tool":["b"]}',
        b'{"mark":"begin","step":"a","arguments":NaN}',
        b'{"mark":"begin","step":"a","arguments":{"x":[1e999]}}',
        b'{"mark":"past","step":"a","began":-1}',
        b'{"mark":"past","step":"a","ended":true}',
        b'{"mark":"begin","step":"%s"}' % (b"a" * 300),
        b'{"mark":"begin","step":"a","arguments":%s1%s}' % (b"[" * 20, b"]" * 20),
        b'{"mark":"begin","step":"a","arguments":%s' % (b"[" * 50_000),
        b'{"mark":"begin","step":"a","arguments":%s' % (b'{"a":' * 10_000),
    ],
)
def test_what_is_no_claim_is_refused(line: bytes) -> None:
    with pytest.raises(NoClaim):
        read_claim(line)


def test_a_claim_is_its_known_members_and_no_others() -> None:
    said = {"mark": "begin", "step": "a", "tool": "bash", "arguments": {"command": "ls"}, "kind": "step", "n": 7}
    assert read_claim(json.dumps(said).encode()) == {
        "mark": "begin", "step": "a", "tool": "bash", "source": None, "arguments": {"command": "ls"},
    }  # fmt: skip


class Listening:
    """A claims socket with this process as the deputy, or with nobody."""

    def __init__(self, place: Path, deputy: int) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.now = 0.0
        self.selector = selectors.DefaultSelector()
        table = ProcessTable(
            record=lambda kind, **members: None,
            watch=lambda process: None,
            unwatch=lambda process: None,
            spawned=lambda pid: None,
        )
        self.path = str(place / "claims")
        self.socket = ClaimsSocket(
            self.selector, self.path, deputy, table,
            lambda kind, **members: self.records.append((kind, members)), lambda: self.now,
        )  # fmt: skip

    def turn(self) -> None:
        """Serve until nothing is to be read any more."""
        while ready := self.selector.select(0):
            for key, events in ready:
                if key.fd in self.selector.get_map():
                    key.data.ready(events)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [members for found, members in self.records if found == kind]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    made = Listening(tmp_path, os.getpid())
    yield made
    made.selector.close()


@contextlib.contextmanager
def speaking(listening: Listening) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(listening.path)
        yield ours


def test_who_connects_by_itself_is_refused_and_recorded(tmp_path: Path) -> None:
    listening = Listening(tmp_path, deputy=1)
    with speaking(listening) as ours:
        ours.sendall(b'{"mark":"begin","step":"a"}\n')
        listening.turn()
        with pytest.raises(ConnectionResetError):
            ours.recv(1)
    (refused,) = listening.of("privilege")
    assert (refused["operation"], refused["refused"], refused["arguments"]) == ("claim", True, [os.getpid()])
    assert listening.of("claim") == []
    listening.selector.close()


def test_a_connection_that_was_passed_to_an_outsider_is_an_outsiders(listening: Listening) -> None:
    """The kernel says who sent the bytes, whoever connected."""
    with speaking(listening) as ours:
        ours.sendall(b'{"mark":"begin","step":"a"}\n')
        listening.turn()
    assert [refused["arguments"] for refused in listening.of("privilege")] == [[os.getpid()]]


def test_the_claim_of_a_process_that_is_gone_is_nobodys(listening: Listening) -> None:
    with speaking(listening) as ours:
        code = 'import os; os.write(0, b\'{"mark":"begin","step":"a"}\\n\')'
        subprocess.run([sys.executable, "-c", code], stdin=ours, check=True)
        listening.turn()
    assert [said["process"] for said in listening.of("claim")] == [None]


def test_a_flood_is_counted_and_costs_one_record_a_second(listening: Listening) -> None:
    with speaking(listening) as ours:
        ours.setblocking(False)
        line, sent = b'{"mark":"begin","step":"a"}\n', 0
        for _ in range(200):
            with contextlib.suppress(BlockingIOError):
                sent += ours.send(line * 100)
            listening.turn()
            listening.socket.settle()
    listening.turn()
    assert listening.of("loss") == []
    listening.now += 1
    listening.socket.settle()
    losses = {said["reason"]: said["count"] for said in listening.of("loss")}
    assert losses["more claims than are taken down"] > 10_000
    assert sum(losses.values()) + len(listening.of("privilege")) == -(-sent // len(line))
    assert len(listening.of("privilege")) <= claims_module.BURST


def test_a_line_without_end_is_dropped_once_and_the_next_is_heard(listening: Listening) -> None:
    with speaking(listening) as ours:
        for _ in range(8):
            ours.sendall(b"x" * LINE_MAX)
            listening.turn()
        ours.sendall(b'tail\n{"mark":"begin","step":"a"}\nhalf')
        listening.turn()
    listening.turn()
    listening.socket.settle(now=True)
    assert {said["reason"] for said in listening.of("loss")} == {
        f"not a claim: longer than {LINE_MAX} bytes", "not a claim: no newline behind it",
    }  # fmt: skip
    assert len(listening.of("privilege")) == 1  # of an outsider, for that is what this process is


def test_descriptors_that_are_sent_along_are_not_taken(listening: Listening) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with speaking(listening) as ours:
        null = os.open(os.devnull, os.O_RDONLY)
        socket.send_fds(ours, [b"{}\n"], [null] * 50)
        os.close(null)
        listening.turn()
    listening.turn()
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_keeps_many_connections_loses_the_oldest(listening: Listening) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(speaking(listening)) for _ in range(8)]
        listening.turn()
        for _ in range(claims_module.CONNECTIONS_MAX - 4):
            stack.enter_context(speaking(listening))
            listening.turn()
        assert [ours.recv(1) for ours in held[:4]] == [b""] * 4
        held[4].setblocking(False)
        with pytest.raises(BlockingIOError):
            held[4].recv(1)
