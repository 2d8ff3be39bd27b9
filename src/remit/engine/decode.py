"""Turns an evidence record into an event, or into None when it is none of the engine's input.

Findings, verdicts and responses are never input: live and replay see the same events whatever was concluded before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.events import (
    AttemptResult,
    Attempts,
    Call,
    Change,
    Claim,
    Compute,
    Connect,
    Declared,
    End,
    Event,
    Exec,
    Exit,
    Flow,
    Fork,
    Loss,
    Open,
    Session,
    Step,
    Tool,
    Turn,
)

Record = dict[str, Any]
# address_families(7): numbers that are the same on every architecture Linux runs remit on. A refused socket has the
# number that was asked for, an address the name.
_FAMILIES = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet", 38: "alg", 40: "vsock"}
OUTSIDE = "outside"  # stands for a process that is none of the session's


def decode(record: Record) -> Event | None:
    """The event of a record. Raises KeyError, TypeError or ValueError when a record has the wrong shape."""
    decoder = _DECODERS.get(record["kind"])
    return decoder(record) if decoder else None


def _session(r: Record) -> Event:
    scope, respond, sight = dict(r.get("scope") or {}), dict(r.get("respond") or {}), r.get("sight") or "normal"
    return Session(r["n"], r["time"], r["session"], r["task"], scope, respond, sight, str(r.get("workspace") or ""),
                   str(r.get("temporary_directory") or ""))  # fmt: skip


def _attempts(r: Record) -> Event:
    results = tuple(
        AttemptResult(str(a["name"]), str(a["wall"]), str(a["result"]), str(a.get("reason") or ""), a.get("gap"))
        for a in r.get("results") or ()
    )
    return Attempts(r["n"], r["time"], results)


def _step(r: Record) -> Event:
    shared = tuple(entry["process"] for entry in r.get("shared") or ())
    left = tuple(r.get("left_running") or ())
    tool, phase, source = r.get("tool") or "", r.get("phase"), r.get("source") or ""
    return Step(r["n"], r["time"], r["mark"], r["step"], tool, r.get("arguments"), phase, source, left, shared,
                r.get("caller"), _declared(r["declared"]) if r.get("declared") else None)  # fmt: skip


def _declared(d: Record) -> Declared:
    words = {
        name: tuple(tuple(map(_word, program)) for program in d.get(name) or ()) for name in ("programs", "nested")
    }
    texts = {name: tuple(map(str, d.get(name) or ())) for name in ("writes", "reads", "hosts")}
    again = tuple(map(int, d.get("again") or ()))
    return Declared(words["programs"], again, words["nested"], **texts, anything=bool(d.get("anything")))


def _word(word: object) -> str | None:
    return None if word is None else str(word)


def _turn(r: Record) -> Event:
    steps, tools = tuple(map(str, r.get("steps") or ())), r.get("tools")
    return Turn(
        r["n"], r["time"], r["mark"], r.get("source") or "", r.get("caller"), steps, _words(r.get("texts")),
        _words(r.get("results")), None if tools is None else int(tools), int(r.get("earlier") or 0),
        bool(r.get("elsewhere")),
    )  # fmt: skip


def _words(entries: list[Record] | None) -> tuple[str, ...]:
    """Of hashes nothing is left to read."""
    return tuple(str(entry.get("text") or "") for entry in entries or ())


def _claim(r: Record) -> Event:
    return Claim(
        r["n"], r["time"], r.get("process"), r["mark"], r.get("step"), r.get("tool") or "", r.get("arguments"),
        r.get("source") or "", r.get("group"), r.get("within"), r.get("began"), r.get("ended"),
    )  # fmt: skip


def _fork(r: Record) -> Event:
    candidates = tuple(r.get("candidates") or ())
    parent, step, source = r.get("parent"), r.get("step"), r.get("source")
    return Fork(r["n"], r["time"], r["process"], parent, r["via"], step, source, candidates)


def _exec(r: Record) -> Event:
    return Exec(
        r["n"], r["time"], r["process"], r["image"], tuple(map(str, r.get("arguments") or ())),
        r.get("directory") or "", bool(r.get("confirmed")), int(r.get("errno") or 0), bool(r.get("refused")),
        r.get("clause"), bool(r.get("observed")), r.get("uncovered") or "",
        bool(r.get("truncated")),
    )  # fmt: skip


def _exit(r: Record) -> Event:
    return Exit(r["n"], r["time"], r["process"], r.get("status"))


def _open(r: Record) -> Event:
    device_class = str(r.get("class") or "other") if r["kind"] == "device" else None
    return Open(
        r["n"], r["time"], r["process"], r.get("path") or r.get("asked") or "", int(r.get("flags") or 0),
        int(r.get("errno") or 0), bool(r.get("refused")), r.get("wall"), r.get("clause"),
        device_class, bool(r.get("absent")), bool(r.get("routine")), bool(r.get("outsider")),
        bool(r.get("observed")), bool(r.get("new")),
    )  # fmt: skip


def _change(r: Record) -> Event:
    return Change(
        r["n"], r["time"], r["process"], r["operation"], r.get("path") or "", r.get("source") or "",
        int(r.get("errno") or 0), bool(r.get("refused")), r.get("wall"), r.get("clause"), bool(r.get("observed")),
    )  # fmt: skip


def _connect(r: Record) -> Event:
    operation = "connect" if r["kind"] == "connect" else r.get("operation") or "bind"
    return Connect(
        r["n"], r["time"], r["process"], operation, r.get("family") or "other", str(r.get("address") or ""),
        int(r.get("port") or 0), int(r.get("errno") or 0), bool(r.get("refused")), r.get("wall"), r.get("clause"),
        bool(r.get("observed")),
    )  # fmt: skip


def _flow(r: Record) -> Event:
    return Flow(
        r["n"], r["time"], r["process"], r["operation"], _family(r.get("family")), str(r.get("address") or ""),
        int(r.get("port") or 0), int(r.get("bytes_in") or 0), int(r.get("bytes_out") or 0),
        str(r.get("first_bytes") or ""), int(r.get("errno") or 0), bool(r.get("refused")), r.get("wall"),
        r.get("clause"), int(r.get("type") or 0), int(r.get("protocol") or 0),
    )  # fmt: skip


def _family(family: int | str | None) -> str:
    return _FAMILIES.get(family, str(family)) if isinstance(family, int) else family or "other"


def _call(r: Record) -> Event:
    target = r.get("target")
    return Call(
        r["n"], r["time"], r["process"] or OUTSIDE, r["kind"], r["operation"], None if target is None else str(target),
        int(r.get("errno") or 0), bool(r.get("refused")), r.get("wall"), r.get("clause"), bool(r.get("observed")),
    )  # fmt: skip


def _model(r: Record) -> Event | None:
    """Of what the gateway tells, only a call that it refused is an act."""
    return _call(r) if r["mark"] == "refused" else None


def _mcp(r: Record) -> Event | None:
    """What a server says of a tool; that it is gone, or could not be read, is for people."""
    if r["mark"] not in ("listed", "remembered"):
        return None
    annotations = {str(name): bool(value) for name, value in dict(r["annotations"]).items()}
    digests = {str(part): str(digest) for part, digest in dict(r["digests"]).items()}
    return Tool(r["n"], r["time"], r["mark"], str(r["tool"]), r.get("process"), annotations, digests)


def _compute(r: Record) -> Event:
    busiest = tuple((str(entry["process"]), float(entry["cpu"])) for entry in r.get("busiest") or ())
    processes, cpu, memory = int(r.get("processes") or 0), float(r.get("cpu") or 0), int(r.get("memory") or 0)
    return Compute(r["n"], r["time"], processes, cpu, memory, busiest)


def _loss(r: Record) -> Event:
    steps = tuple(map(str, r["steps"])) if "steps" in r else None
    return Loss(
        r["n"], r["time"], str(r.get("class") or "other"), int(r.get("count") or 0), r.get("reason") or "", steps
    )


def _end(r: Record) -> Event:
    left = tuple(r.get("left_running") or ())
    return End(r["n"], r["time"], r.get("status"), r.get("exit_source") or "", r.get("ended_by"), left)


_DECODERS: dict[str, Callable[[Record], Event | None]] = {
    "session": _session,
    "attempts": _attempts,
    "step": _step,
    "turn": _turn,
    "claim": _claim,
    "fork": _fork,
    "exec": _exec,
    "exit": _exit,
    "open": _open,
    "device": _open,
    "change": _change,
    "connect": _connect,
    "bind": _connect,
    "flow": _flow,
    "privilege": _call,
    "signal": _call,
    "model": _model,
    "mcp": _mcp,
    "compute": _compute,
    "loss": _loss,
    "end": _end,
}
