"""What an MCP server says of its tools, and what it said before: enough to compare, small enough to keep."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from remit.digest import sha256

PROMISES = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
_PARTS = {"title": "title", "description": "description", "inputSchema": "input", "outputSchema": "output",
          "annotations": "annotations"}  # fmt: skip
_LONGEST_NAME = 200
_LONGEST_DESCRIPTION = 2000
_MOST_KNOWN = 1024
MOST_TOOLS = 512  # that a conversation is told of; a server could go on for ever


class Tool:
    """A tool as it was listed. Equal `digests`: nothing that a model reads of it has changed."""

    __slots__ = ("annotations", "description", "digests", "name")

    def __init__(self, name: str, description: str, annotations: dict[str, bool], digests: dict[str, str]) -> None:
        self.name = name
        self.description = description
        self.annotations = annotations
        self.digests = digests

    def members(self) -> dict[str, Any]:
        """Of the record."""
        return {
            "tool": self.name,
            "description": self.description,
            "annotations": self.annotations,
            "digests": self.digests,
        }


def tools_of(result: Any) -> Iterator[Tool]:
    """The tools in the result of tools/list; what is no tool is passed over."""
    listed = result.get("tools") if isinstance(result, dict) else None
    for said in listed if isinstance(listed, list) else ():
        if isinstance(said, dict) and isinstance(said.get("name"), str) and said["name"]:
            yield _tool(said)


def _tool(said: dict[str, Any]) -> Tool:
    annotations = said.get("annotations")
    hints = annotations if isinstance(annotations, dict) else {}
    promises = {name: hints[name] for name in PROMISES if isinstance(hints.get(name), bool)}
    digests = {part: _digest(said[member]) for member, part in _PARTS.items() if said.get(member) is not None}
    # `_meta` is for programs and may change with every answer; all the rest may reach the model.
    rest = {name: said[name] for name in said if name not in _PARTS and name not in ("name", "_meta", "icons")}
    if rest:
        digests["rest"] = _digest(rest)
    description = said.get("description")
    shown = description[:_LONGEST_DESCRIPTION] if isinstance(description, str) else ""
    return Tool(said["name"][:_LONGEST_NAME], shown, promises, digests)


def _digest(value: Any) -> str:
    # In one order: which member comes first is no difference.
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


class KnownTools:
    """What was listed the first time, in a file of this user's state that no session can write.

    A tool that is not known is trusted the first time; one that is stays as it was until a person accepts what it
    became.
    """

    def __init__(self, path: str, server: list[str], *, accept: bool = False) -> None:
        self._path = path
        self._server = server
        self._accept = accept
        self.tools = _read(path)
        self.first_time = not self.tools

    def remembered(self) -> Iterator[Tool]:
        for name, (hints, digests) in self.tools.items():
            yield Tool(name, "", hints, digests)

    def learn(self, tools: list[Tool]) -> None:
        """Keep what is new. Raises OSError."""
        new = {
            tool.name: (tool.annotations, tool.digests)
            for tool in tools
            if tool.name not in self.tools or (self._accept and self.tools[tool.name][1] != tool.digests)
        }
        if len(self.tools.keys() | new.keys()) > _MOST_KNOWN:
            return  # a server that has new ones each time
        if new:
            self.tools.update(new)
            self._write()

    def _write(self) -> None:
        entries = {name: {"annotations": a, "digests": d} for name, (a, d) in self.tools.items()}
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        beside = f"{self._path}.{os.getpid()}"
        with open(beside, "w", encoding="utf-8") as file:
            json.dump({"server": self._server, "tools": entries}, file, indent=1)
            file.write("\n")
        os.replace(beside, self._path)


def place_of(folder: str, server: list[str], scope: str | None) -> str:
    """Where the tools of this server are remembered, as it is started under this scope file.

    A word that names a file means another server in another directory.
    """
    words = [os.path.abspath(word) if os.path.exists(word) else word for word in server]
    named = json.dumps([words, None if scope is None else os.path.abspath(scope)])
    return f"{folder}/{sha256(named.encode())[:32]}.json"


def _read(path: str) -> dict[str, tuple[dict[str, bool], dict[str, str]]]:
    """Empty when there is nothing, or nothing that we wrote."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)["tools"]
        return {str(name): (dict(entry["annotations"]), dict(entry["digests"])) for name, entry in entries.items()}
    return {}
