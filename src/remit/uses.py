"""What a session used, or reached for, told so that a scope can be written from it: plain records, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Use:
    """One thing of one kind, however often.

    kind: `read`, `write` (what is there), `change` (a name in the directory `object`), `execute`, `connect`, `bind`,
    `listen`, `unix`, `gpu`, or `call` for what no scope can grant. object: a resolved path, an address, a call.
    """

    kind: str
    object: str
    port: int = 0
    refused: bool = False
    secret: bool = False
    count: int = 0
    programs: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """One session's uses, in a fixed order, and what it used up. scope: that of the evidence, in force or observed."""

    session: str
    task: str
    purpose: str
    workspace: str
    home: str
    temporary_directory: str
    observed: bool
    scope: dict[str, Any]
    uses: tuple[Use, ...] = ()
    programs: tuple[str, ...] = ()  # the images that ran
    processes: int = 0  # at once
    cpu: float = 0.0
    memory: int = 0  # as sampled; 0 when it ended before the first sample
    wall: float = 0.0
    findings: tuple[str, ...] = field(default=())  # the behaviours
