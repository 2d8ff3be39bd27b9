"""What the YAML parser complains about, in words of somebody who writes a scope, and what to write instead."""

from __future__ import annotations

import re
from typing import Any

from remit.errors import one_line

_COLON = "put a space after the colon: `key: value`"
_QUOTES = 'put the text in quotes: "..."'

# What the parser says; what we say, at the place where the thing begins (`context`) or where it went wrong; a hint.
_WORDS: tuple[tuple[str, str, str, str], ...] = (
    (r"mapping values are not allowed here", "problem", "a second `: ` on one line", _QUOTES),
    (r"could not find expected ':'", "context", "a line that is no `key: value`", _COLON),
    (r"found character '\\t'", "problem", "a tab", "indent with spaces"),
    (r"found character '(.+)' that cannot start any token", "problem", "plain text cannot begin with $1", _QUOTES),
    (r"found unexpected end of stream", "context", "a quote that is never closed", 'close it: "..."'),
    (r"found unexpected document separator", "context", "a quote that is never closed", 'close it: "..."'),
    (r".*but got '<stream end>'", "context", "a [ or { that is never closed", "close it with ] or }"),
    (r"expected ',' or '(.)', but got", "problem", "no comma, and no $1, where one must come", _QUOTES),
    (
        r"expected <block end>",
        "problem",
        "does not line up with what stands above",
        "indent all keys of one level alike",
    ),
    (
        r".*(unknown escape|expected escape)",
        "problem",
        "an escape that YAML does not have",
        "write \\\\ for a backslash",
    ),
    (r".*YAML document.*version|.*YAML directive", "problem", "this %YAML line is not understood", "take the line out"),
    (r".*(directive|tag)|expected '!'", "problem", "a % or ! that is not understood", _QUOTES),
)


def say(problem: Any) -> tuple[tuple[int, int] | None, str, str]:
    """The place, a message and a hint for an error of the parser."""
    said = str(getattr(problem, "problem", None) or getattr(problem, "reason", None) or "unreadable")
    place, message = "problem", said
    hint = "quote text that has : # { or [ in it"
    for pattern, where, words, instead in _WORDS:
        if found := re.match(pattern, said):
            place, message, hint = where, words.replace("$1", found[1] or "" if found.re.groups else ""), instead
            break
    mark = getattr(problem, f"{place}_mark", None) or getattr(problem, "problem_mark", None)
    position = None if mark is None else (mark.line + 1, mark.column + 1)
    return position, one_line(message), hint
