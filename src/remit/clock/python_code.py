"""Reads which programs, files and addresses a Python text names in plain words; runs nothing.

Only constants count: what the text computes is not known before it runs.
"""

from __future__ import annotations

import ast

from remit.plain import Data

LONGEST = 16 << 10  # characters; deeper ones than this can be are refused by the parser itself
_STARTERS = frozenset({"run", "call", "check_call", "check_output", "Popen", "create_subprocess_exec"})
_SHELLS = frozenset({"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"})
_PATH_METHODS = frozenset({"write_text", "write_bytes", "read_text", "read_bytes", "touch", "mkdir"})


class Code(Data):
    """`programs` are argument vectors, `lines` shell texts, `words` all its short texts."""

    programs: tuple[tuple[str | None, ...], ...] = ()
    lines: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def read_python(text: str) -> Code:
    """What a Python text names. Empty for one that is none, or is too long or too deep to be read."""
    if len(text) > LONGEST:
        return Code()
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Code()
    programs: list[tuple[str | None, ...]] = []
    lines: list[str] = []
    paths: dict[bool, list[str]] = {True: [], False: []}
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = _name(node)
        if name in _PATH_METHODS and (path := _path(node.func)) is not None:
            paths[name not in ("read_text", "read_bytes")].append(path)
        if not node.args:
            continue
        first = node.args[0]
        if name in _SHELLS or name in _STARTERS:
            if isinstance(first, ast.List | ast.Tuple):
                programs.append(tuple(_text(word) for word in first.elts))
            elif (line := _text(first)) is not None:
                lines.append(line)
        elif name == "open" and isinstance(node.func, ast.Name) and (path := _text(first)):
            paths[any(letter in _mode(node) for letter in "wax+")].append(path)
    words = tuple(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return Code(tuple(programs), tuple(lines), tuple(paths[True]), tuple(paths[False]), words)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else str(getattr(call.func, "id", ""))


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _mode(call: ast.Call) -> str:
    given = [call.args[1]] if len(call.args) > 1 else [word.value for word in call.keywords if word.arg == "mode"]
    return (_text(given[0]) or "w") if given else "r"


def _path(function: ast.expr) -> str | None:
    """The path in `Path("…").write_text`."""
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Call):
        return None
    made = function.value
    return _text(made.args[0]) if _name(made) == "Path" and len(made.args) == 1 else None
