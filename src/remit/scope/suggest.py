"""Turns what a session used into the smallest scope that a person would sign: the same text for the same evidence.

What was refused, what is secret, and what no scope should grant whole is written as a comment and not granted. Presets
come first, then the workspace where it was used and `$TMPDIR`, both whole, then directories in place of long lists of
files; budgets are what was used, with room.
"""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from remit.errors import one_line
from remit.plan import PathGrant
from remit.scope.suggest_budgets import budgets
from remit.scope.suggest_network import network
from remit.scope.suggest_paths import Tree, few_trees, is_inside, is_wide
from remit.uses import Session, Use

_PRESET_PROGRAMS = {
    "git": re.compile(r"git(-.*)?"),
    "python": re.compile(r"(python|pypy|pip)[\d.]*"),
    "node": re.compile(r"node(js)?|npm|npx"),
}
_NEVER_WRITTEN = ("/proc", "/sys", "/dev")
_COMMENTS_MAX = 40

Covers = Mapping[str, tuple[PathGrant, ...]]


def suggest_scope(
    session: Session, presets: Covers, exists: Callable[[str], bool], *, withheld: tuple[str, ...] = ()
) -> str:
    """The scope as YAML. presets: what each grants on this host; exists: whether a path is there to be granted;
    withheld: remit's own places, which are no task's business."""
    notes: list[str] = []
    granted = [use for use in session.uses if not use.refused and use.kind != "call"]
    for use in session.uses:
        if use.refused or use.kind == "call":
            notes.append(f"refused: {_what(use, session)}")
        elif use.kind == "unix" and (problem := _cannot(use, session, withheld)):
            notes.append(f"{problem}: {_what(use, session)}")
            granted.remove(use)
    chosen = _presets(session)
    covered = [grant for name in chosen for grant in presets.get(name, ())]
    scope = CommentedMap()
    scope["remit"] = 1
    scope["task"] = session.task
    if session.purpose:
        scope["purpose"] = session.purpose
    scope["use"] = _flow(chosen)
    scope["files"] = _files(granted, session, covered, exists, withheld, notes)
    most, compute = budgets(session)
    scope["processes"] = _flow_map({"at-most": most})
    reach = network(granted, _why)
    if reach:
        scope["network"] = reach
    scope["devices"] = _flow_map({"gpu": "all" if any(use.kind == "gpu" for use in granted) else "none"})
    if compute:
        scope["compute"] = _flow_map(compute)
    _keep(scope, session)
    scope.yaml_set_start_comment(_heading(session, notes))
    return _dump(scope)


def _presets(session: Session) -> list[str]:
    names = {image.rpartition("/")[2] for image in session.programs}
    found = [preset for preset, programs in _PRESET_PROGRAMS.items() if any(programs.fullmatch(name) for name in names)]
    return ["base", *found]


def _files(
    uses: list[Use],
    session: Session,
    covered: list[PathGrant],
    exists: Callable[[str], bool],
    withheld: tuple[str, ...],
    notes: list[str],
) -> CommentedMap:
    wanted: dict[str, dict[str, Use]] = {"write": {}, "execute": {}, "read": {}}
    own: dict[str, list[Use]] = {}
    closed = [*withheld, *(use.object for use in uses if use.secret)]
    for use in uses:
        access = {"change": "write"}.get(use.kind, use.kind)
        if access not in wanted:
            continue
        place = _own_place(use.object, session)
        if use.secret and not _is_own_fixture(use, session):
            notes.append(f"a secret: {_what(use, session)}")
        elif place is not None:
            own.setdefault(place, []).append(use)
        elif any(access in grant.access and is_inside(use.object, grant.path) for grant in covered):
            continue
        elif problem := _cannot(use, session, withheld):
            notes.append(f"{problem}: {_what(use, session)}")
        else:
            wanted[access][use.object] = use
    files = CommentedMap()
    lists = {"write": CommentedSeq(), "read": CommentedSeq(), "execute": CommentedSeq()}
    if "$WORKSPACE" in own:
        writes = any(use.kind in ("write", "change") for use in own["$WORKSPACE"])
        _add(lists["write" if writes else "read"], "$WORKSPACE", own["$WORKSPACE"])
    # The session's own, empty at first and gone at its end: every program is told to put its temporary files there.
    _add(lists["write"], "$TMPDIR", own.get("$TMPDIR", []))
    done: list[str] = []
    for access in ("write", "execute", "read"):
        paths = [path for path in wanted[access] if not any(is_inside(path, tree) for tree in done)]
        for tree in few_trees(paths, home=session.home, closed=closed):
            if not exists(tree.path):
                notes.append(f"not there any more: {_what(wanted[access][tree.covers[0]], session)}")
                continue
            done.append(tree.path)
            _add(lists[access], _written(tree.path, session), [wanted[access][path] for path in tree.covers], tree)
    for access, entries in lists.items():
        if entries:
            files[access] = entries
    declared = (session.scope.get("files") or {}).get("secrets") or []
    if declared:
        files["secrets"] = _flow([_written(path, session) for path in declared])
    return files


def _own_place(path: str, session: Session) -> str | None:
    for place, variable in ((session.workspace, "$WORKSPACE"), (session.temporary_directory, "$TMPDIR")):
        if is_inside(path, place):
            return variable
    return None


def _is_own_fixture(use: Use, session: Session) -> bool:
    """A key in the workspace that the scope did not call secret: test data, and the workspace is granted anyway."""
    declared = (session.scope.get("files") or {}).get("secrets") or []
    own = _own_place(use.object, session) is not None
    return own and not any(is_inside(use.object, place) for place in declared)


def _cannot(use: Use, session: Session, withheld: tuple[str, ...]) -> str | None:
    """Why a path is not granted, or None."""
    path = use.object
    plain = path.startswith("/") and path.isprintable() and posixpath.normpath(path) == path and len(path) < 4096
    if not plain or any(letter in path for letter in "*?[$"):
        return "cannot be written in a scope"
    if use.kind in ("write", "change") and any(is_inside(path, tree) for tree in _NEVER_WRITTEN):
        return "not granted for writing"
    if is_inside(path, "/proc"):
        return "not granted"
    if any(is_inside(path, place) for place in withheld):
        return "remit's own"
    if is_wide(path, session.home):
        return "not granted whole"
    return None


def _keep(scope: CommentedMap, session: Session) -> None:
    """What the evidence cannot tell better: the old scope's own lines."""
    old = session.scope
    passed = (old.get("environment") or {}).get("pass") or []
    if passed:
        scope["environment"] = _flow_map({"pass": _flow(passed)})
    if old.get("model"):
        scope["model"] = _flow_map(dict(old["model"]))
    if old.get("claims"):
        scope["claims"] = _flow(old["claims"])
    if old.get("respond"):
        scope["respond"] = _flow_map(dict(old["respond"]))
    if old.get("accept-gaps"):
        scope["accept-gaps"] = _flow(old["accept-gaps"])


def _add(entries: CommentedSeq, text: str, uses: list[Use], tree: Tree | None = None) -> None:
    entries.append(text)
    files = f"{len(tree.covers)} paths, " if tree and len(tree.covers) > 1 else ""
    why = files + _why(uses) if uses else "not used, but TMPDIR and HOME are there"
    entries.yaml_add_eol_comment(why, len(entries) - 1)


def _why(uses: Iterable[Use]) -> str:
    """How often, by which programs, in which steps, as the end of a line."""
    several = list(uses)
    count = sum(use.count for use in several)
    text = f"{count} time{'s' if count != 1 else ''}"
    programs = list(dict.fromkeys(name for use in several for name in use.programs))
    steps = list(dict.fromkeys(step for use in several for step in use.steps))
    if programs:
        text += f" by {_few(programs)}"
    if steps:
        text += f" in {_few(steps)}"
    return one_line(text, 120)


def _few(words: list[str]) -> str:
    return ", ".join(words[:4]) + (" …" if len(words) > 4 else "")


def _what(use: Use, session: Session) -> str:
    subject = _written(use.object, session) if use.object.startswith("/") else use.object
    place = f"{subject}:{use.port}" if use.port else subject
    kind = "" if use.kind == "call" else f"{use.kind} "
    return f"{kind}{one_line(place, 100)}, {_why([use])}"


def _written(path: str, session: Session) -> str:
    """A path as a person writes it."""
    own = _own_place(path, session)
    if own is not None:
        return own + path[len(session.workspace if own == "$WORKSPACE" else session.temporary_directory) :]
    return "~" + path[len(session.home) :] if is_inside(path, session.home) and path != session.home else path


def _heading(session: Session, notes: list[str]) -> str:
    seen = "what it did while nothing was enforced" if session.observed else "what it was let do"
    lines = [f"Suggested from session {session.session}: {seen}. Read every line before you sign it."]
    if session.findings:
        lines.append(f"THE SESSION HAS FINDINGS: {', '.join(session.findings)}. Read the report first.")
    if notes:
        lines += ["", "Touched, not granted:"]
        lines += [f"  {one_line(note, 160)}" for note in notes[:_COMMENTS_MAX]]
    if len(notes) > _COMMENTS_MAX:
        lines.append(f"  and {len(notes) - _COMMENTS_MAX} more")
    return "\n".join(lines) + "\n"


def _flow(values: Iterable[Any]) -> CommentedSeq:
    entries = CommentedSeq(values)
    entries.fa.set_flow_style()
    return entries


def _flow_map(values: Mapping[str, Any]) -> CommentedMap:
    mapping = CommentedMap(values)
    mapping.fa.set_flow_style()
    return mapping


def _dump(scope: CommentedMap) -> str:
    yaml = YAML()
    yaml.width = 118
    yaml.indent(mapping=2, sequence=4, offset=2)
    scope["task"] = _quoted(scope["task"])
    output = io.StringIO()
    yaml.dump(scope, output)
    return output.getvalue()


def _quoted(text: str) -> str:
    """A task may be called `no` or `1:30`, and must stay text for every reader."""
    return text if text.replace("-", "").isalpha() and text.lower() not in _WORDS else DoubleQuotedScalarString(text)


_WORDS = ("no", "yes", "on", "off", "true", "false", "null", "y", "n")
