"""What a preset is: data, and no more; a path that a host does not have is left out, `*` matches within one name."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """One preset. `execute` trees can be read too, `write` ones read and written."""

    name: str
    version: int
    summary: str
    execute: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()  # environment variables passed on
    set: dict[str, str] = field(default_factory=dict)
    accepts: tuple[str, ...] = ()  # wall gaps, by name

    @property
    def clause(self) -> str:
        return f"use:{self.name}@{self.version}"
