"""An event is one evidence record, decoded: immutable, typed, and timed by whoever recorded it.

Field names and meanings are those of `docs/records.md`. Only `process` events are charged to steps. `observed`: it
was let through only because the session observes; the scope would have refused it.
"""

from __future__ import annotations

from typing import Any

from remit.plain import Data


class Session(Data):
    """The header: what was approved, what holds, and what is done about findings."""

    n: int
    time: int
    session: str
    task: str
    scope: dict[str, Any]
    respond: dict[str, str]
    sight: str = "normal"
    workspace: str = ""
    temporary_directory: str = ""


class AttemptResult(Data):
    """What one of remit's own attempts came to: `held`, `open` (the gap that says so, if one does) or `skipped`."""

    name: str
    wall: str
    result: str
    reason: str
    gap: str | None


class Attempts(Data):
    """The attempts that were made on the walls before any program of the agent ran."""

    n: int
    time: int
    results: tuple[AttemptResult, ...]


class Declared(Data):
    """What a tool call says that it will do. A word that only the running shell knows is None.

    `again`: the programs that stand in loops, by index. `nested`: what those programs are to run in turn. `anything`:
    what is run may be something else too. `hosts` are `host` or `host:port`.
    """

    programs: tuple[tuple[str | None, ...], ...] = ()
    again: tuple[int, ...] = ()
    nested: tuple[tuple[str | None, ...], ...] = ()
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    anything: bool = False


class Step(Data):
    """A step begins or ends. `shared` lists processes that outlive the step and still hear the harness; `caller` is
    the process that was given the tool call, where a gateway saw it being given, and `declared` what it asks for."""

    n: int
    time: int
    mark: str
    step: str
    tool: str
    arguments: Any
    phase: str | None
    source: str
    left_running: tuple[str, ...]
    shared: tuple[str, ...]
    caller: str | None = None
    declared: Declared | None = None


class Turn(Data):
    """What the model said (`answer`), or was told (`request`): the words of it that are kept.

    `steps` began with the calls of this answer, or are those whose `results` this request brings. `tools`: how many the
    model was offered, where that is known; `earlier`: how many messages of the conversation came before.
    """

    n: int
    time: int
    mark: str
    source: str
    caller: str | None
    steps: tuple[str, ...]
    texts: tuple[str, ...]
    results: tuple[str, ...]
    tools: int | None
    earlier: int
    elsewhere: bool  # the model's provider ran something itself

    @property
    def text(self) -> str:
        return "\n\n".join(self.texts)


class Claim(Data):
    """A process inside says that a step begins (`begin`), has ended (`end`, without a step all of the `group`), or was
    (`past`). Nobody outside saw it."""

    n: int
    time: int
    process: str | None
    mark: str
    step: str | None
    tool: str
    arguments: Any
    source: str
    group: str | None = None
    within: str | None = None
    began: int | None = None  # of what is past, as it says
    ended: int | None = None


class Tool(Data):
    """What an MCP server says of a tool (`listed`), or said in an earlier session (`remembered`); `process` is the
    server's, where there is one for all calls."""

    n: int
    time: int
    mark: str
    tool: str
    process: str | None
    annotations: dict[str, bool]
    digests: dict[str, str]


class Fork(Data):
    """A process exists; `via` says how its parent is known, `source` who asked the supervisor to spawn it."""

    n: int
    time: int
    process: str
    parent: str | None
    via: str
    step: str | None
    source: str | None
    candidates: tuple[str, ...]


class Exec(Data):
    """A process runs a program, or tried to."""

    n: int
    time: int
    process: str
    image: str
    arguments: tuple[str, ...]
    directory: str
    confirmed: bool
    errno: int
    refused: bool
    clause: str | None
    observed: bool = False
    uncovered: str = ""  # what the scope would not have let run: the image, or the script that it runs
    truncated: bool = False  # its arguments are not all there


class Exit(Data):
    n: int
    time: int
    process: str
    status: int | None


class Open(Data):
    """A file was opened, or a device node when `device_class` is set; in normal sight only for writing.

    `outsider`: the path lies in /proc, below a process that is none of the session's.
    """

    n: int
    time: int
    process: str
    path: str
    flags: int
    errno: int
    refused: bool
    wall: str | None
    clause: str | None
    device_class: str | None
    absent: bool
    routine: bool  # a refused write of a process to an entry of its own in /proc that concerns nobody else
    outsider: bool = False
    observed: bool = False
    new: bool = False  # nothing was there


class Change(Data):
    """In full sight a name made, removed, linked or renamed, a file truncated by its name; metadata where refused."""

    n: int
    time: int
    process: str
    operation: str
    path: str
    source: str  # of a link or a rename
    errno: int
    refused: bool
    wall: str | None
    clause: str | None
    observed: bool = False


class Connect(Data):
    """A connect, bind or listen, with its result. EINPROGRESS (115) counts as begun."""

    n: int
    time: int
    process: str
    operation: str
    family: str
    address: str
    port: int
    errno: int
    refused: bool
    wall: str | None
    clause: str | None
    observed: bool = False

    @property
    def begun(self) -> bool:
        return not self.refused and self.errno in (0, 115)


class Flow(Data):
    """What a connection carried (`sample`), or a socket or send that was refused."""

    n: int
    time: int
    process: str
    operation: str
    family: str
    address: str
    port: int
    bytes_in: int
    bytes_out: int
    first_bytes: str
    errno: int
    refused: bool
    wall: str | None
    clause: str | None
    socket_type: int  # of a refused socket, with its protocol, as socket(2) numbers them
    protocol: int


class Call(Data):
    """A refused dangerous system call: kind privilege, or signal when it aims at another process."""

    n: int
    time: int
    process: str
    kind: str
    operation: str
    target: str | None
    errno: int
    refused: bool
    wall: str | None
    clause: str | None
    observed: bool = False


class Compute(Data):
    """A sample of what the whole tree has used, and CPU seconds of its busiest processes so far."""

    n: int
    time: int
    processes: int
    cpu: float
    memory: int
    busiest: tuple[tuple[str, float], ...]


class Loss(Data):
    """Events were dropped: counted by class, never silent."""

    n: int
    time: int
    loss_class: str
    dropped: int
    reason: str
    steps: tuple[str, ...] | None = None  # in which they fell, where that is known


class End(Data):
    n: int
    time: int
    status: int | None
    exit_source: str
    ended_by: str | None
    left_running: tuple[str, ...]


ProcessEvent = Fork | Exec | Exit | Open | Change | Connect | Flow | Call
Event = Session | Attempts | Step | Turn | Tool | Claim | ProcessEvent | Compute | Loss | End
