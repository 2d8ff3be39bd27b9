"""Reads by grammar which programs a shell text asks for; runs nothing, and says when the text may run anything else.

Words are given as the shell would pass them on, None where only the running shell knows (`$X`, `*.py`, `$(…)`). Takes
time in proportion to the text; what is too long, or would cost the parser more than that, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import dropwhile

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from remit.plain import Data

LONGEST = 64 << 10  # bytes of a text
_MOST_HEREDOCS = 32  # tree-sitter-bash looks at all that are open on each line
_DEEPEST = 4  # of texts within texts
_LOOPS = frozenset({"for_statement", "c_style_for_statement", "while_statement"})
# What these run is said elsewhere, or later: by a file, a variable, a name that they give a meaning.
_OPEN_ENDED = frozenset(
    {"source", ".", "trap", "alias", "enable", "complete", "compgen", "compopt", "bind", "fc", "coproc", "hash"}
    | {"history"}
)
_PLAIN = frozenset({"echo", "cd", "exit", "return", ":", "true", "false"})  # they look nothing up
_CALLED_BACK = frozenset({"mapfile", "readarray"})  # with -C they run what they are told
_WITHIN = frozenset({"command", "builtin", "exec", "time"})  # the shell runs the rest itself
_BUILTINS = frozenset(
    (
        *("[", ":", "bg", "break", "caller", "cd", "continue", "declare", "dirs", "disown", "echo", "exit", "export"),
        *("false", "fg", "getopts", "hash", "help", "history", "jobs", "kill", "let", "local", "logout", "mapfile"),
        *("popd", "printf", "pushd", "pwd", "read", "readarray", "readonly", "return", "set", "shift", "shopt"),
        *("suspend", "test", "times", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "wait"),
    )
)
# What the shell reads in other words than the grammar, or runs later, and the names whose values it runs.
_ODD = re.compile(r"[\0\r\v\f]|\S\\\n|@[A-Za-z]\}|\b(?:PS[0-4]|PROMPT_COMMAND|BASH_ENV|ENV|BASH_ALIASES|BASH_CMDS)\b")
_SUBSTITUTION = re.compile(rb"\$\((?!\()")
_SAFE_SETTINGS = frozenset(
    {"-e", "-u", "-x", "+e", "+u", "+x", "-eu", "-ex", "-ux", "-eux", "-euo", "-exo", "-euxo", "-o", "pipefail"}
    | {"errexit", "nounset", "xtrace", "--"}
)
_GLOB = re.compile(r"(?<!\\)[*?\[]|^~|(?<!\\)[{}]")
_HOME = re.compile(r"[=:]~")
_LOOKING_UP = frozenset({"declaration_command", "unset_command", "test_command", "unary_expression"})
_WORDS = frozenset({"word", "number", "string", "raw_string", "concatenation", "simple_expansion", "expansion"})
_OPTION = re.compile(r"-|[A-Za-z_]\w*=")
_WRITES = frozenset({">", ">>", "&>", "&>>", ">|", "<>"})


class Asked(Data):
    """One program in a text. `again`: in a loop, so that it may run any number of times. `fed`: a here-document."""

    words: tuple[str | None, ...]
    again: bool = False
    fed: str | None = None


class Text(Data):
    """A shell text. `anything`: it may run what does not stand in it."""

    programs: tuple[Asked, ...] = ()
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    anything: bool = False


def read_shell(text: str, *, deepest: int = _DEEPEST) -> Text:
    """What a shell that is given this text runs, in the order of the text."""
    data = text.encode(errors="replace")
    if len(data) > LONGEST or data.count(b"<<") > _MOST_HEREDOCS or not deepest:
        return Text(anything=True)
    root = _parser().parse(data).root_node
    programs: list[Asked] = []
    paths: dict[bool, list[str]] = {True: [], False: []}
    anything = root.has_error or _ODD.search(text) is not None
    plain, substitutions = bytearray(data), 0  # the text without what the shell takes as it stands
    for node, again in _nodes(root):
        if node.type == "raw_string" or (node.type == "heredoc_body" and _is_quoted(node)):
            plain[node.start_byte : node.end_byte] = b" " * (node.end_byte - node.start_byte)
        substitutions += node.type == "command_substitution"
        anything = anything or _is_misread(node)
        if node.type == "function_definition":
            anything = True  # its name means this from now on
        elif node.type == "variable_assignment":
            name = node.child_by_field_name("name")
            anything = anything or name is None or name.type == "subscript"  # which is worked out, and may run
        elif node.type == "file_redirect":
            target = node.child_by_field_name("destination")
            word = _literal(target) if target is not None else None
            if word and not word.isdecimal() and word != "-":
                paths[any(child.type in _WRITES for child in node.children)].append(word)
        elif node.type == "command":
            found = _command(node, again, deepest)
            programs += found.programs
            paths[True] += found.writes
            paths[False] += found.reads
            anything = anything or found.anything
    # What the grammar did not see as a substitution the shell may.
    anything = anything or b"`" in plain or len(_SUBSTITUTION.findall(plain)) != substitutions
    return Text(tuple(programs), tuple(paths[True]), tuple(paths[False]), anything)


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_bash.language()))


def _nodes(root: Node) -> Iterator[tuple[Node, bool]]:
    """All nodes in the order of the text, and whether each is in a loop. No recursion: a text may be deep."""
    waiting = [(root, False)]
    while waiting:
        node, again = waiting.pop()
        yield node, again
        inside = again or node.type in _LOOPS
        waiting += [(child, inside) for child in reversed(node.children) if child.is_named]


def _command(node: Node, again: bool, deepest: int) -> Text:
    name = node.child_by_field_name("name")
    if name is None:
        return Text()
    words = [_literal(name.children[0]) if name.children else None]
    words += [_literal(argument) for argument in node.children_by_field_name("argument")]
    first = words[0]
    while first in _WITHIN:
        if first == "exec" and len(words) > 1 and (words[1] or "-").startswith("-"):
            return Text(anything=True)  # -a gives a program another name
        words = without_options(words[1:])
        first = words[0] if words else ""
    if first is None or first in _OPEN_ENDED:
        return Text(anything=True)
    if first in _CALLED_BACK and any(word is None or (word.startswith("-") and "C" in word) for word in words[1:]):
        return Text(anything=True)
    if first == "set" and not _SAFE_SETTINGS.issuperset(words[1:]):
        return Text(anything=True)
    if first == "jobs" and len(words) > 1:
        return Text(anything=True)
    if first in _BUILTINS and first not in _PLAIN and any(word and ("$(" in word or "`" in word) for word in words):
        return Text(anything=True)  # a subscript that is looked up runs what stands in it
    if first == "eval" and len(words) > 1 and (words[1] or "-").startswith("-"):
        return Text(anything=True)
    if first == "eval":
        inner = " ".join(word or "" for word in words[1:])
        return Text(anything=True) if None in words else read_shell(inner, deepest=deepest - 1)
    if not first or first in _BUILTINS:
        return Text()
    return Text((Asked((*words, *_skipped(node)), again, _fed(node)),))


def _skipped(node: Node) -> list[str | None]:
    """The `-` of `python3 - <<END`, which the grammar leaves out of its tree."""
    after, around = node.next_sibling, node.parent
    if after is None or around is None or around.type != "redirected_statement" or around.text is None:
        return []
    gap = around.text[node.end_byte - around.start_byte : after.start_byte - around.start_byte].strip()
    return [gap.decode() if gap == b"-" else None] if gap else []


def _is_quoted(body: Node) -> bool:
    """Whether a here-document's delimiter is quoted, so that its text is taken as it stands."""
    redirect = body.parent
    start = next((child for child in redirect.children if child.type == "heredoc_start"), None) if redirect else None
    return start is not None and any(mark in _bytes(start) for mark in (b"'", b'"', b"\\"))


def _is_misread(node: Node) -> bool:
    """Words behind a redirection are the command's, whatever the grammar makes of them; a subscript that is looked up
    runs what stands in it."""
    if node.type in _LOOKING_UP:
        return any(b"$(" in _bytes(child) for child in node.children if child.type in ("raw_string", "concatenation"))
    if node.type == "file_redirect":
        return len(node.children_by_field_name("destination")) > 1
    if node.type == "herestring_redirect":
        return sum(child.is_named for child in node.children) > 1
    return node.type == "heredoc_redirect" and any(child.type in _WORDS for child in node.children)


def without_options(words: Sequence[str | None]) -> list[str | None]:
    """The words from the first on that is neither an option nor a variable's value."""
    return list(dropwhile(lambda word: word is not None and _OPTION.match(word) is not None, words))


def _fed(node: Node) -> str | None:
    """The text that a here-document, or a here-string, feeds to a program, when all of it stands there."""
    around = node.parent
    holders = [node, around] if around is not None and around.type == "redirected_statement" else [node]
    for holder in holders:
        for child in holder.children:
            if child.type == "heredoc_redirect":
                bodies = [part for part in child.children if part.type == "heredoc_body"]
                plain = bodies and all(
                    not part.is_named or part.type == "heredoc_content" for part in bodies[0].children
                )
                return _bytes(bodies[0]).decode(errors="replace") if plain else None
            if child.type == "herestring_redirect" and child.children:
                return _literal(child.children[-1])
    return None


def _literal(node: Node) -> str | None:
    """What a word becomes, when nothing but quotes has to be taken off."""
    text = _bytes(node).decode(errors="replace")
    if node.type in ("word", "number"):
        return None if _GLOB.search(text) or _HOME.search(text) else re.sub(r"\\(\n|.)", _unescaped, text, flags=re.S)
    if node.type == "raw_string":
        return text[1:-1]
    if node.type == "string":
        if any(child.is_named and child.type != "string_content" for child in node.children):
            return None
        return re.sub(r"\\([\\\"$`\n])", _unescaped, text[1:-1])
    if node.type == "concatenation":
        parts = [_literal(child) for child in node.children]
        return None if None in parts else "".join(part for part in parts if part)
    return None


def _unescaped(found: re.Match[str]) -> str:
    return "" if found[1] == "\n" else found[1]


def _bytes(node: Node) -> bytes:
    return node.text or b""
