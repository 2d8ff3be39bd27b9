"""Takes secrets out of what is about to be recorded: a rule finds one, and a marker takes its place for good.

A marker is `<redacted:RULE:DIGEST>`. Equal secrets of one session have equal digests, so that they can be matched; the
digest is keyed with bytes that are stored nowhere, so that nobody can try guesses against it. What no rule knows stays.
The agent writes the text and the supervisor waits for us, so every rule takes time in proportion to the text.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

from remit.digest import keyed
from remit.plain import Data

Count = dict[str, int]

# Kinds and members that hold nothing of the agent's choosing, or what other records are matched by.
_PLAIN_KINDS = frozenset({"fork", "exit", "compute", "privilege", "signal", "response", "loss", "end", "closed"})
_PLAIN_MEMBERS = frozenset(
    {"process", "parent", "step", "tool", "phase", "mark", "source", "wall", "clause", "family", "session", "boot_id"}
    | {"version", "tier", "sight", "scope_digest", "host", "walls", "gaps", "limits", "respond", "workspace"}
    | {"left_running", "shared", "candidates", "caller", "steps", "language"}
)

# Patterns see lower case, unless a rule says otherwise.
_NAME = (
    r"(?:passw(?:or)?d|passphrase|pass(?<![a-z0-9]pass)|pwd(?<=[-_.]pwd)|token(?<![a-z0-9]token)|secret|credentials?"
    r"|(?:access|auth|refresh|session|bot)token|api[-_.]?key|(?:access|secret|private|auth|account)[-_.]?key)"
)
_NAMES = "pass pwd token secret credential key"
# A reference to a secret is none, nor is the lack of one, nor our own marker.
_NO_SECRET = r"(?!\$|<redacted:|\*\*\*|(?:none|null|nil|true|false|undefined)\b)"
_BARE = r"[^\s\"'`;&|<>(){}\[\],\\]"  # what an unquoted value is made of, in shells and in most languages
_OPTION = rf"--?(?:[\w.]+-)*{_NAME}"
_ASSIGNED_WORD = rf"-{{0,2}}[\w.-]{{0,128}}{_NAME}={_NO_SECRET}(.+)"
_MEMBER = rf"[\w.-]{{0,128}}{_NAME}"
_VARIABLE = rf"\w*{_NAME}|\w+_(?:key|auth|pass|pw)"
_NAME_TRACES = (*_NAMES.split(), "auth", "pw")
_FOLDED = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}


class Rule(Data):
    """The secret is the group that matched last. Most text has none of a rule's traces, or nothing of what stands
    between a name and its secret (`between`; empty: no matter), which is quickly seen."""

    name: str
    traces: tuple[str, ...]
    pattern: str
    folded: bool = True
    between: str = ""


def _rule(name: str, traces: str, *parts: str, folded: bool = True, between: str = "") -> Rule:
    return Rule(name, tuple(traces.split()), "".join(parts), folded, between)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Not before there is a trace: to compile them all takes longer than a short command runs."""
    return re.compile(pattern, re.DOTALL)


_RULES = (
    _rule(
        "pem",
        "private",
        r"-----begin [a-z0-9 ]{0,32}private key(?: block)?-----(?!<redacted:)(.*?)",
        r"(?=-----end [a-z0-9 ]{0,32}private key|\Z)",
    ),
    _rule(
        "header",
        "auth x-api-key x-access-token private-token",
        r"(?:authorization\\*[\"']?\s{0,8}[:=]\s{0,8}\\*[\"']?(?:(?:bearer|basic|token|bot|negotiate)\s{1,8})?+",
        r"|x-(?:api-key|auth-token|access-token)\s{0,8}:\s{0,8}|private-token\s{0,8}:\s{0,8})",
        rf"{_NO_SECRET}([^\s\"'\\]+)",
    ),
    _rule("header", "cookie", rf"cookie\s{{0,8}}:\s{{0,8}}{_NO_SECRET}([^\r\n\"']+)"),
    _rule("header", "bearer", r"bearer\s{1,8}(?=[^\s\"'\d]{0,64}\d)([\w.~+/=-]{12,})"),
    _rule("url", "://", rf"://[^\s/:@\"'<>]{{0,256}}:{_NO_SECRET}([^\s/\"'<>]{{1,512}})(?=@)"),
    _rule(
        "format",
        "sk- sk_ rk_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox akia asia aiza hf_ npm_ pypi- ya29. eyj",
        r"(?<![\w-])(sk-(?=[a-zA-Z_-]{0,64}\d)[\w-]{16,}|[sr]k_(?:live|test)_\w{10,}|gh[pousr]_\w{16,}",
        r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|A[KS]IA[A-Z0-9]{16}(?!\w)|AIza[\w-]{30,}",
        r"|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|ya29\.[\w-]{20,}",
        r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?)",
        folded=False,
    ),
    # Quoted; behind an equals sign; or behind a colon, where prose and code need more than a word to be meant.
    _rule(
        "assignment",
        _NAMES,
        rf"{_NAME}(?:\\*[\"']?\s{{0,8}}(?:=>|[:=])\s{{0,8}}\\*[\"']{_NO_SECRET}([^\"'\\\n]{{1,4096}})",
        rf"|={_NO_SECRET}({_BARE}+)|:\s{{0,8}}{_NO_SECRET}(?={_BARE}{{6}})(?=[^\s\"'\d]{{0,64}}\d)({_BARE}+))",
        between="=:",
    ),
    _rule(
        "option",
        _NAMES,
        rf"-{_NAME}\s{{1,8}}(?:\"{_NO_SECRET}([^\"\n]{{1,4096}})\"|'{_NO_SECRET}([^'\n]{{1,4096}})'",
        rf"|(?!-){_NO_SECRET}([^\s\"';&|]+))",
        between="-",
    ),
    _rule(
        "option",
        "curl",
        r"curl(?=\s)[^\n|;&]{0,128}?\s(?:-u|--user|--proxy-user)[ =]?[\"']?[^\s:\"']{1,64}:",
        rf"{_NO_SECRET}([^\s\"']+)",
    ),
    _rule("option", "sshpass", rf"sshpass\s{{1,8}}-p\s{{0,8}}[\"']?{_NO_SECRET}([^\s\"']+)"),
    _rule(
        "option",
        "mysql mariadb",
        rf"(?:mysql|mariadb)(?:dump|admin)?(?=\s)[^\n|;&]{{0,128}}?\s-p{_NO_SECRET}([^\s\"']+)",
    ),
)
_TRACES = tuple(dict.fromkeys(trace for rule in _RULES for trace in rule.traces))
_REMEMBERED, _LONGEST_REMEMBERED = 4096, 512


class Redactor:
    """One session's rules. `environment` is what the agent is given: its credentials are known by their values."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._key = os.urandom(16)
        secrets = {value for name, value in (environment or {}).items() if _is_credential(name, value)}
        self._values = sorted(secrets, key=len, reverse=True)
        # Texts without a secret, and words that in addition say nothing of the word behind them: programs are run,
        # and files written, again and again.
        self._clean: set[str] = set()
        self._plain: set[str] = set()

    def members(self, kind: str, members: dict[str, Any]) -> dict[str, Any]:
        """A record's members without secrets, and under `redacted` how many each rule found, if any."""
        if kind in _PLAIN_KINDS:
            return members
        count: Count = {}
        changed = {
            name: value if name in _PLAIN_MEMBERS else self._value(value, count)
            for name, value in (_without_model(members) if kind == "session" else members).items()
        }
        if not count:
            return members
        if kind == "session" and "model" in members.get("scope", {}):
            changed["scope"]["model"] = members["scope"]["model"]
        return {**changed, "redacted": count}

    def text(self, text: str, count: Count) -> str:
        """A text without secrets; `count` is added to."""
        if text in self._clean:
            return text
        redacted = text
        for value in self._values:
            if value in redacted:
                count["environment"] = count.get("environment", 0) + redacted.count(value)
                redacted = redacted.replace(value, self._marker("environment", value))
        lower = _folded(redacted)
        if _has_any(_TRACES, lower):
            redacted = self._by_rules(redacted, lower, count)
        if redacted == text:
            _remember(self._clean, text)
        return redacted

    def _by_rules(self, text: str, lower: str, count: Count) -> str:
        for rule in _RULES:
            if not _has_any(rule.traces, lower) or (rule.between and not _has_any(rule.between, lower)):
                continue
            parts, position = [], 0
            for match in _compiled(rule.pattern).finditer(lower if rule.folded else text):
                start, end = match.span(match.lastindex or 0)
                parts += [text[position:start], self._marked(rule.name, text[start:end], count)]
                position = end
            if parts:
                text = "".join([*parts, text[position:]])
                lower = _folded(text)
        return text

    def _value(self, value: Any, count: Count) -> Any:
        if isinstance(value, str):
            return self.text(value, count)
        if isinstance(value, dict):
            return {name: self._named(str(name), member, count) for name, member in value.items()}
        if isinstance(value, list | tuple):
            if all(isinstance(word, str) for word in value):
                return self._words(value, count)
            return [self._value(member, count) for member in value]
        return value

    def _named(self, name: str, value: Any, count: Count) -> Any:
        if isinstance(value, str) and value and _name(_MEMBER, name) and not _refers(value):
            return self._marked("member", value, count)
        return self._value(value, count)

    def _words(self, words: list[str] | tuple[str, ...], count: Count) -> list[str]:
        """An argument vector: a secret may be the word after its option, and then is all of it."""
        if self._plain.issuperset(words):
            return list(words)
        found: list[str] = []
        program = words[0].rpartition("/")[2]
        last = ""
        for word in words:
            if _asks_for_secret(last, program) and word and not word.startswith("-") and not _refers(word):
                found.append(self._marked("option", word, count))
            elif last in ("-u", "--user", "--proxy-user") and program == "curl" and ":" in word:
                user, _, secret = word.partition(":")
                found.append(f"{user}:{self._marked('option', secret, count)}")
            elif word.startswith("-p") and len(word) > 2 and program in ("sshpass", "mysql", "mysqldump", "mariadb"):
                found.append(f"-p{self._marked('option', word[2:], count)}")
            elif "=" in word and not _is_code(last) and (match := _name(_ASSIGNED_WORD, word)):
                found.append(word[: match.start(1)] + self._marked("option", word[match.start(1) :], count))
            else:
                found.append(self.text(word, count))
                if found[-1] == word and not (word.startswith(("-u", "-p", "--")) or _asks_for_secret(word, "")):
                    _remember(self._plain, word)
            last = word
        return found

    def _marked(self, rule: str, secret: str, count: Count) -> str:
        count[rule] = count.get(rule, 0) + 1
        return self._marker(rule, secret)

    def _marker(self, rule: str, secret: str) -> str:
        digest = keyed(secret.encode("utf-8", "surrogatepass"), self._key, 4)
        return f"<redacted:{rule}:{digest}>"


def _without_model(header: dict[str, Any]) -> dict[str, Any]:
    """The scope's parser lets its model name a credential, and never hold one: that it is called so hides nothing."""
    scope = header.get("scope", {})
    return {**header, "scope": {name: value for name, value in scope.items() if name != "model"}}


def _name(pattern: str, text: str) -> re.Match[str] | None:
    """The match of a whole text that begins with, or is, the name of a secret."""
    lower = _folded(text)
    return _compiled(pattern).fullmatch(lower) if _has_any(_NAME_TRACES, lower) else None


def _has_any(traces: tuple[str, ...] | str, text: str) -> bool:
    return any(trace in text for trace in traces)


def _folded(text: str) -> str:
    """In lower case, with each character in its place: elsewhere than in ASCII, lower case may be longer."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


def _refers(value: str) -> bool:
    return value.startswith(("$", "<redacted:"))


def _asks_for_secret(word: str, program: str) -> bool:
    """Whether this option's value, the next word, is a secret."""
    if not word.startswith("-"):
        return False
    return (word == "-p" and program == "sshpass") or _name(_OPTION, word) is not None


def _is_code(option: str) -> bool:
    """Whether the word behind this option is a program: `bash -lc`, `python -c`. An assignment is not all of it."""
    return option.startswith("-") and not option.startswith("--") and option.endswith(("c", "e"))


def _is_credential(name: str, value: str) -> bool:
    """Whether a variable holds a secret; a short value would be found in everything, and a path is where one lies."""
    return len(value) >= 8 and not value.startswith(("/", "~")) and _name(_VARIABLE, name) is not None


def _remember(known: set[str], text: str) -> None:
    if len(text) <= _LONGEST_REMEMBERED:
        if len(known) >= _REMEMBERED:
            known.clear()
        known.add(text)
