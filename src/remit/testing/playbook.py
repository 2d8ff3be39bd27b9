"""A playbook is a session's evidence in a few readable lines, fed to the real engine, and what must follow from it.

    Playbook().step("call_1", "bash", {"command": "ssh -R ..."}).spawn("/bin/bash", "-c", "ssh -R ...").fork().exec(
        "/usr/bin/ssh", "-NR", "8080:localhost:22", "me@far"
    ).connect("203.0.113.9:22", refused=True).expect("reverse-tunnel", state="attempted", step="call_1")

Acts are those of the current process: the last one spawned, forked or named with `act_as`. The clock is the playbook's
own; each record is a millisecond after the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from remit.attribution.steps import Attributor
from remit.engine import Engine
from remit.engine.decode import decode
from remit.evidence.record import FIRST_HASH, encode_record, encode_verbatim, segment_name
from remit.findings import Attribution

BEGINNING = 1_767_225_600_000_000_000  # 2026-01-01, as the real time at boot
MILLISECOND = 1_000_000
TICK = 10 * MILLISECOND
EACCES = 13


class Playbook:
    """Builds records and feeds them; every method returns the playbook, so that a conversation reads downwards."""

    def __init__(
        self,
        *,
        scope: dict[str, Any] | None = None,
        respond: dict[str, str] | None = None,
        **header: Any,
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.messages: list[bytes] = []
        self._clock = BEGINNING + 100_000 * MILLISECOND
        self._pid = 1000
        self._names: dict[str, str] = {}
        self._current = ""
        members = {
            "session": "playbook", "boot_id": "boot", "version": "0", "tier": "user", "sight": "normal",
            "task": "a-task", "purpose": "", "labels": {}, "arguments": ["agent"], "workspace": "/work",
            "scope": scope or {}, "walls": [], "gaps": [], "respond": respond or {}, "limits": {},
        }  # fmt: skip
        self._put("session", {**members, **header})
        self._engine = Engine(self.records[0])
        self._attributor = Attributor()

    # Steps

    def step(self, step: str, tool: str = "bash", arguments: Any = None, *, source: str = "sdk") -> Playbook:
        """A step begins."""
        body = {"mark": "begin", "step": step, "tool": tool, "arguments": arguments, "phase": None, "source": source}
        return self.add("step", **body)

    def end_step(self, step: str, *, shared: Sequence[str] = (), left_running: Sequence[str] = ()) -> Playbook:
        """A step ends; `shared` names processes that still hear the harness."""
        return self.add(
            "step",
            mark="end",
            step=step,
            shared=[{"process": self.id(name), "through": "pipe:[1]"} for name in shared],
            left_running=[self.id(name) for name in left_running],
        )

    # Words

    def say(self, text: str, *steps: str, source: str = "sdk", **more: Any) -> Playbook:
        """The model says something, in the answer whose calls began these steps if any are named."""
        members = {"source": source, "mark": "answer", "caller": None, "steps": steps, "texts": [{"text": text}]}
        return self.add("turn", **members | more)

    def tell(self, *texts: str, results: dict[str, str] | None = None, **more: Any) -> Playbook:
        """The model is told something: texts, and the results of calls by their steps."""
        entries = [{"text": text} for text in (results or {}).values()]
        words = {"texts": [{"text": text} for text in texts], "results": entries, "tools": 1, "earlier": 0}
        members = {"source": "gateway", "mark": "request", "caller": None, "steps": list(results or {}), **words}
        return self.add("turn", **members | more)

    # Processes

    def spawn(self, *command: str, step: str | None = None, name: str = "", source: str | None = None) -> Playbook:
        """The supervisor starts a process for a step, and it runs `command` when one is given."""
        origin = {"source": source} if source else {}
        self.add("fork", process=self._new(name), parent=None, via="spawn", step=step, **origin)
        return self.exec(*command) if command else self

    def fork(self, name: str = "", *, of: str = "", via: str = "parent") -> Playbook:
        """The current process, or `of`, has a child, which becomes the current one."""
        parent = self.id(of)
        return self.add("fork", process=self._new(name), parent=parent, via=via)

    def orphan(self, *candidates: str, name: str = "") -> Playbook:
        """A process whose parent was gone; it becomes the current one."""
        known = [self.id(candidate) for candidate in candidates]
        return self.add("fork", process=self._new(name), parent=None, via="orphan", candidates=known)

    def act_as(self, name: str) -> Playbook:
        """Make a named process the current one."""
        self._current = self.id(name)
        return self

    def exec(self, image: str, *arguments: str, refused: bool = False, errno: int = 0) -> Playbook:
        """The current process runs a program; `arguments` are those after its name."""
        name = image.rpartition("/")[2]
        errno = errno or (EACCES if refused else 0)
        body = {"image": image, "arguments": [name, *arguments], "directory": "/work", "confirmed": True}
        return self.add("exec", process=self._current, **body, errno=errno, refused=refused, clause=None)

    def exit(self, name: str = "", status: int = 0) -> Playbook:
        return self.add("exit", process=self.id(name), status=status)

    # Acts

    def connect(self, place: str, *, refused: bool = False, errno: int = 0, clause: str | None = None) -> Playbook:
        return self._network("connect", place, refused, errno, clause)

    def listen(self, place: str) -> Playbook:
        return self._network("bind", place, False, 0, None, operation="listen")

    def flow(self, place: str, first_bytes: str = "", *, bytes_in: int = 0, bytes_out: int = 0) -> Playbook:
        """A sample of what a connection of the current process has carried so far."""
        address, _, port = place.rpartition(":")
        volume = {"bytes_in": bytes_in, "bytes_out": bytes_out, "first_bytes": first_bytes}
        return self.add("flow", operation="sample", process=self._current, address=address, port=int(port), **volume)

    def refuse_socket(self, family: int = 2) -> Playbook:
        """The current process asks for a socket; the record has its family as socket(2) numbers it."""
        body = {"family": family, "type": 1, "protocol": 0, "errno": EACCES, "refused": True, "wall": "socket"}
        return self.add("flow", operation="socket", process=self._current, **body, clause="network.connect")

    def open(self, path: str, *, flags: int = 1, refused: bool = False, errno: int = 0, **more: Any) -> Playbook:
        """The current process opens a file for writing, or with `class=`, a device node."""
        errno = errno or (EACCES if refused else 0)
        body = {"path": path, "asked": path, "flags": flags, "errno": errno, "refused": refused, "wall": "files"}
        return self.add("device" if "class" in more else "open", process=self._current, **body, clause=None, **more)

    def read(self, path: str, *, refused: bool = True, **more: Any) -> Playbook:
        """The current process opens a file for reading; full sight records it when it is refused."""
        return self.open(path, flags=0, refused=refused, predicted=True, **more)

    def change(self, operation: str, path: str, *, source: str = "", refused: bool = False, **more: Any) -> Playbook:
        """The current process makes, removes, links or renames a name."""
        body = {"operation": operation, "path": path, "source": source, "errno": EACCES if refused else 0}
        return self.add("change", process=self._current, **body, refused=refused, wall="files", clause=None, **more)

    def open_gpu(self, path: str = "/dev/nvidiactl", *, flags: int = 2, **more: Any) -> Playbook:
        return self.open(path, flags=flags, **{"class": "gpu", "absent": False, **more})

    def compute(self, *busiest: tuple[str, float], after: float = 0.0) -> Playbook:
        """A sample, `after` seconds later, of the CPU seconds of some processes."""
        self._clock += int(after * 1000) * MILLISECOND
        entries = [{"process": self.id(name), "cpu": cpu} for name, cpu in busiest]
        return self.add("compute", processes=len(entries), cpu=sum(c for _, c in busiest), memory=0, busiest=entries)

    def wait(self, seconds: float) -> Playbook:
        self._clock += int(seconds * 1000) * MILLISECOND
        return self

    def add(self, kind: str, **members: Any) -> Playbook:
        """Any record, as `docs/records.md` has it; fed to the engine at once."""
        record = self._put(kind, members)
        self.messages += self._engine.feed(record)
        event = decode(record)
        if event is not None:
            self._attributor.observe(event)
        return self

    def end(self, status: int = 0) -> Playbook:
        return self.add("end", status=status, exit_source="command", ended_by=None, left_running=[])

    # What follows

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings as they stand: the last record of each id."""
        latest = {finding["id"]: finding for finding in self._of("finding")}
        return list(latest.values())

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        return self._of("verdict")

    def expect(self, behaviour: str, **members: Any) -> Playbook:
        """Exactly one finding of this behaviour stands, and it has these members."""
        found = [finding for finding in self.findings if finding["behaviour"] == behaviour]
        assert len(found) == 1, f"{len(found)} findings of {behaviour}; all findings: {self._show()}"
        for name, value in members.items():
            assert found[0][name] == value, f"{name} is {found[0][name]!r} and not {value!r}: {self._show()}"
        return self

    def expect_nothing(self) -> Playbook:
        """No finding stands."""
        assert not self.findings, f"findings: {self._show()}"
        return self

    def attribution(self, name: str = "") -> Attribution:
        """To which step an act of a process would be charged now."""
        return self._attributor.of(self.id(name))

    def id(self, name: str = "") -> str:
        """The PID:START of a named process, of the current one without a name."""
        return self._names.get(name, name) if name else self._current

    def write(self, directory: Path, *, segment_records: int = 1000) -> Path:
        """Write the evidence as a supervisor would have, with the engine's bytes at its end."""
        directory.mkdir(parents=True, exist_ok=True)
        lines: list[bytes] = []
        previous = FIRST_HASH
        for record in self.records:
            body = {name: value for name, value in record.items() if name != "n"}
            line, previous = encode_record(len(lines) + 1, body, previous)
            lines.append(line)
        for message in self.messages:
            kind = next(iter(json.loads(message)))
            line, previous = encode_verbatim(len(lines) + 1, self._clock, kind, message, previous)
            lines.append(line)
        if self.records[-1]["kind"] == "end":
            body = {"time": self._clock, "kind": "closed", "findings": len(self._of("finding"))}
            lines.append(encode_record(len(lines) + 1, body, previous)[0])
        for number, start in enumerate(range(0, len(lines), segment_records), 1):
            (directory / segment_name(number)).write_bytes(b"".join(lines[start : start + segment_records]))
        return directory

    def _network(self, kind: str, place: str, refused: bool, errno: int, clause: str | None, **more: Any) -> Playbook:
        if place.startswith("/"):
            where: dict[str, Any] = {"family": "unix", "address": place, "port": 0}
        else:
            address, _, port = place.rpartition(":")
            where = {"family": "inet6" if ":" in address else "inet", "address": address, "port": int(port)}
        result = {"errno": errno or (EACCES if refused else 0), "refused": refused, "wall": "connect"}
        return self.add(kind, process=self._current, **where, **result, clause=clause or "network.connect", **more)

    def _new(self, name: str) -> str:
        self._pid += 1
        self._current = f"{self._pid}:{(self._clock - BEGINNING) // TICK}"
        if name:
            self._names[name] = self._current
        return self._current

    def _put(self, kind: str, members: dict[str, Any]) -> dict[str, Any]:
        self._clock += MILLISECOND
        record = {"n": len(self.records) + 1, "time": self._clock, "kind": kind, **members}
        self.records.append(record)
        return record

    def _of(self, kind: str) -> list[dict[str, Any]]:
        decoded: Iterable[dict[str, Any]] = map(json.loads, self.messages)
        return [message[kind] for message in decoded if kind in message]

    def _show(self) -> str:
        return json.dumps(self.findings, indent=1)
