"""A scope holds what was approved and nothing else: every key is known, every value has one type, nothing is guessed.

Keys that are planned but that no wall enforces yet are refused with their own message, never accepted in silence.
"""

from __future__ import annotations

import difflib
import re
import urllib.parse
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from remit.scope.gaps import GAPS, WALL_NAMES
from remit.scope.values import ValueProblem, parse_cidr, parse_duration, parse_ports, parse_size

Behaviour = Literal[
    "reverse-tunnel",
    "covert-channel",
    "reverse-shell",
    "crypto-mining",
    "gpu-diversion",
    "compute-diversion",
    "data-exfiltration",
    "credential-access",
    "monitor-evasion",
    "privilege-escalation",
    "sandbox-escape",
    "persistence",
    "reconnaissance",
    "lateral-movement",
    "destruction",
    "stop-ignored",
    "say-do-mismatch",
    "tool-changed",
    "limit-tampering",
]
Verdict = Literal["record", "freeze", "kill"]
PresetName = Literal["base", "git", "python", "node", "hook", "claude-code", "codex", "mini-swe-agent"]


def _parsed(parser: Any, schema: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    def parse(value: object) -> Any:
        try:
            return parser(value)
        except ValueProblem as problem:
            raise _problem(problem.message, problem.hint) from problem

    return BeforeValidator(parse), WithJsonSchema(schema)


def _problem(message: str, hint: str) -> PydanticCustomError:
    # Braces would be read as a template.
    return PydanticCustomError("scope", "{said}", {"said": message, "hint": hint})


def _later(choices: tuple[str, ...]) -> BeforeValidator:
    """Words that the language has and this version does not enforce."""

    def check(value: object) -> object:
        if value in choices:
            raise _problem("not supported yet", "leave the key out, or wait for a version that enforces it")
        return value

    return BeforeValidator(check)


def _path_text(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise _problem("not a path", "write . for the workspace; a path is one line of visible characters")
    return value


def _exactly(number: int, message: str, hint: str) -> BeforeValidator:
    """This number and nothing equal to it: True and 1.0 are equal to 1."""

    def check(value: object) -> object:
        if value is not None and (type(value) is not int or value != number):
            raise _problem(message, hint)
        return value

    return BeforeValidator(check)


def _task_name(value: str) -> str:
    if not value.strip():
        raise _problem("must not be empty", "name what was approved, such as fix-the-build")
    return _one_line(value)


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise _problem("not one line of visible characters", "write one plain line")
    return value


def _upstream(value: str) -> str:
    parts = urllib.parse.urlsplit(value)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise _problem("not the address of a model", "write https://api.example.com")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        raise _problem("a credential would go over the network in clear", "write https://, or a host of this machine")
    if parts.path.rstrip("/").endswith("/v1"):
        raise _problem("the paths of the API begin with /v1 already", "leave /v1 out")
    return value.rstrip("/")


def _credential(value: str) -> str:
    name = value.removeprefix("env:")
    if value != "agent" and (name == value or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name)):
        raise _problem("not a place of a credential", "write env:NAME_OF_A_VARIABLE, or agent; never the secret itself")
    return value


def _environment_value(value: str) -> str:
    if "\0" in value:
        raise _problem("a NUL byte in an environment variable", "leave it out")
    return value


def _known_gap(value: str) -> str:
    if value in GAPS and value not in WALL_NAMES:
        raise _problem("what is only unseen needs no acceptance", "leave it out")
    if value not in WALL_NAMES:
        near = difflib.get_close_matches(value, WALL_NAMES, 1)
        hint = f"did you mean {near[0]}?" if near else "the wall gaps are: " + " ".join(WALL_NAMES)
        raise _problem("no wall gap has this name", hint)
    return value


def _phase_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", value):
        raise _problem("not the name of a phase", "write small letters, digits and hyphens, such as setup")
    return value


def _environment_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", value):
        raise _problem("not the name of an environment variable", "write each name in full; patterns are not supported")
    return value


_SIZE_PARSER, _SIZE_SCHEMA = _parsed(parse_size, {"type": "string", "examples": ["8GiB", "500MB"]})
_DURATION_PARSER, _DURATION_SCHEMA = _parsed(parse_duration, {"type": "string", "examples": ["20m", "1h30m"]})
_PORTS_PARSER, _PORTS_SCHEMA = _parsed(
    parse_ports, {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535}, {"type": "string"}]}
)
_CIDR_PARSER, _CIDR_SCHEMA = _parsed(parse_cidr, {"type": "string", "examples": ["10.0.0.0/8", "::1"]})

Size = Annotated[int, _SIZE_PARSER, _SIZE_SCHEMA]
Duration = Annotated[float, _DURATION_PARSER, _DURATION_SCHEMA]
Ports = Annotated[tuple[int, int], _PORTS_PARSER, _PORTS_SCHEMA]
Cidr = Annotated[str, _CIDR_PARSER, _CIDR_SCHEMA]
PathText = Annotated[str, Field(max_length=4096), AfterValidator(_path_text)]
PhaseName = Annotated[str, AfterValidator(_phase_name)]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
EnvironmentValue = Annotated[str, Field(max_length=65536), AfterValidator(_environment_value)]
GapName = Annotated[str, AfterValidator(_known_gap), WithJsonSchema({"type": "string", "enum": list(WALL_NAMES)})]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class Files(_Strict):
    """What may be written (and so read), read, and executed (and so read); what is secret."""

    write: list[PathText] = Field(default=[], description="trees and files the agent may change, and read")
    read: list[PathText] = Field(default=[], description="trees and files the agent may read")
    execute: list[PathText] = Field(default=[], description="trees and files the agent may run, and read")
    secrets: list[PathText] = Field(default=[], description="never readable; a touch is a finding")
    protect: list[PathText] = Field(default=[], description="not to be changed, even inside a writable tree")


class Processes(_Strict):
    """How many processes may be alive at once."""

    at_most: int | None = Field(default=None, alias="at-most", ge=1, le=4_194_304)


class Connect(_Strict):
    """TCP addresses that the agent may connect to; `cidr: self` is loopback where this session itself listens."""

    cidr: Cidr
    port: Ports


class Udp(_Strict):
    """UDP addresses that the agent may send to, such as a resolver's port 53."""

    cidr: Cidr
    port: Ports


class Listen(_Strict):
    """TCP addresses that the agent may listen on; without cidr, all of this host's; `cidr: self` is loopback.

    Port 0 lets a socket be bound to any free port; to listen, the port it got must be granted too.
    """

    cidr: Cidr | None = None
    port: Ports


class Network(_Strict):
    """TCP and UDP grants, and path-named unix sockets outside the workspace."""

    connect: list[Connect] = []
    udp: list[Udp] = []
    listen: list[Listen] = []
    unix: list[PathText] = []


class Devices(_Strict):
    """Device classes the agent may open."""

    gpu: Literal["none", "all"] = "none"


_NO_GPU_BUDGET = "write gpu: 0, or leave the key out"


class Compute(_Strict):
    """Budgets over the whole tree of processes."""

    cpu: Duration | None = Field(default=None, description="CPU time")
    memory: Size | None = None
    wall: Duration | None = Field(default=None, description="time by the clock")
    gpu: Annotated[Literal[0] | None, _exactly(0, "not supported yet: a GPU budget", _NO_GPU_BUDGET)] = Field(
        default=None, description="GPU time; only 0 so far"
    )


class Environment(_Strict):
    """Variables copied from the caller, and variables set. All others are left out."""

    pass_: list[EnvironmentName] = Field(default=[], alias="pass")
    set: dict[EnvironmentName, EnvironmentValue] = {}


class Evidence(_Strict):
    """What happens when the disk has no space left for evidence."""

    when_full: Literal["end", "mark"] = Field(
        default="end", alias="when-full", description="end the session, or go on and mark what is lost"
    )


class Model(_Strict):
    """The agent's model: it is reached through a gateway outside the boundary, which sees when each step begins."""

    api: Literal["anthropic", "openai"] = Field(description="what the agent speaks")
    upstream: Annotated[str, AfterValidator(_upstream)] = Field(
        max_length=2000, description="where the model is: https://HOST, without the /v1 of its paths"
    )
    credential: Annotated[str, AfterValidator(_credential)] = Field(
        description="env:NAME, a variable of the caller's that the gateway puts in; or agent, the agent's own login"
    )
    transcript: Literal["full", "hashes", "none"] = Field(
        default="full", description="what the evidence keeps of what the model says and is told, besides tool calls"
    )


class PhaseFiles(_Strict):
    """What may be written, read and executed besides what the scope grants."""

    write: list[PathText] = []
    read: list[PathText] = []
    execute: list[PathText] = []


class Phase(_Strict):
    """A stretch of a session: what its processes may do besides what the scope grants to all."""

    files: PhaseFiles = PhaseFiles()
    network: Network = Network()
    devices: Devices = Devices()
    survivors: Literal["keep", "end"] = Field(
        default="keep", description="what happens to processes of the phase that are left when it ends"
    )


class Scope(_Strict):
    """The declared, approved reach of one task."""

    remit: Annotated[Literal[1], _exactly(1, "not a version of this language", "write remit: 1")] = Field(
        description="version of this language"
    )
    task: Annotated[str, AfterValidator(_task_name)] = Field(
        min_length=1, max_length=200, description="a short name for what was approved"
    )
    purpose: Annotated[str, AfterValidator(_one_line)] = Field(
        default="", max_length=2000, description="what the task is for, in a sentence"
    )
    use: list[PresetName] = Field(default=["base"], description="presets: named sets of what real programs need")
    files: Files = Files()
    processes: Processes = Processes()
    network: Network = Network()
    devices: Devices = Devices()
    compute: Compute = Compute()
    environment: Environment = Environment.model_validate({})
    model: Model | None = None
    phases: dict[PhaseName, Phase] = Field(
        default={}, max_length=16, description="stretches of a session with grants of their own, by name"
    )
    claims: list[Literal["socket"]] = Field(
        default=[], description="ways in which programs inside may say what their steps are; never more than likely"
    )
    nested_sandbox: Literal["refuse", "userns", "mount"] = Field(
        default="refuse", alias="nested-sandbox", description="programs that bring a sandbox of their own"
    )
    otherwise: Annotated[Literal["deny", "record"], _later(("ask",))] = Field(
        default="deny", description="a call that no grant covers; record only while observing"
    )
    evidence: Evidence = Evidence.model_validate({})
    respond: dict[Behaviour, Verdict] = Field(default={}, description="what to do after a finding; default record")
    accept_gaps: list[GapName] = Field(
        default=[], alias="accept-gaps", description="wall gaps that are accepted, by name"
    )
