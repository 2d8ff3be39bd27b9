"""Puts remit's hook into the settings of Claude Code, and takes it out again; everything else there stays as it is."""

from __future__ import annotations

import json
import os
import shlex
import stat
from typing import Any

from remit.clock.hooks import EVENTS
from remit.errors import UsageError

_SECONDS = 5  # what the agent waits for it at most; it takes a hundredth of that
_TOOL_EVENTS = "Tool"  # in the names of events that have a matcher

Settings = dict[str, Any]


def with_hook(settings: Settings, command: str) -> Settings:
    """The settings with one call of `command` for each event, and no older one of remit's."""
    hooks = {event: list(groups) for event, groups in without_hook(settings).get("hooks", {}).items()}
    for event in EVENTS:
        group: Settings = {"hooks": [{"type": "command", "command": command, "timeout": _SECONDS}]}
        matcher = {"matcher": "*"} if _TOOL_EVENTS in event else {}
        hooks[event] = [*hooks.get(event, []), {**matcher, **group}]
    return {**settings, "hooks": hooks}


def without_hook(settings: Settings) -> Settings:
    """The settings without any hook of remit's, and without what is empty because of that."""
    if "hooks" not in settings:
        return settings
    hooks = {}
    for event, groups in settings["hooks"].items():
        kept = []
        for group in groups:
            others = [hook for hook in group["hooks"] if not _is_ours(hook)]
            if others or not group["hooks"]:
                kept.append({**group, "hooks": others})
        if kept or not groups:
            hooks[event] = kept
    rest = {name: value for name, value in settings.items() if name != "hooks"}
    return {**settings, "hooks": hooks} if hooks or not settings["hooks"] else rest


def read_settings(path: str) -> Settings:
    """What is in the file, nothing when there is none. Raises UsageError when it is no settings file."""
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise UsageError(f"cannot read the settings {path}: {reason}", hint="repair it, or name another file") from None
    if not _is_settings(settings):
        raise UsageError(f"not the settings of Claude Code: {path}", hint="name its settings.json with --settings")
    return dict(settings)


def write_settings(path: str, settings: Settings) -> None:
    """Replace the file at once, or make it. A link is followed. Raises UsageError."""
    real = os.path.realpath(path)
    temporary = f"{real}.{os.getpid()}.new"
    try:
        os.makedirs(os.path.dirname(real), exist_ok=True)
        mode = stat.S_IMODE(os.stat(real).st_mode) if os.path.exists(real) else 0o644
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(settings, file, indent=2, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, real)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as problem:
        raise UsageError(
            f"cannot write the settings {real}: {problem.strerror}", hint="name another file with --settings"
        ) from problem


def _is_settings(settings: Any) -> bool:
    if not isinstance(settings, dict) or not isinstance(settings.get("hooks", {}), dict):
        return False
    return all(
        isinstance(groups, list)
        and all(isinstance(group, dict) and isinstance(group.get("hooks"), list) for group in groups)
        for groups in settings.get("hooks", {}).values()
    )


def _is_ours(hook: Any) -> bool:
    """Whether a hook is `remit hook`, wherever remit was when it was put in."""
    command = hook.get("command") if isinstance(hook, dict) else None
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return False
    return len(words) == 2 and os.path.basename(words[0]) == "remit" and words[1] == "hook"
