"""Reads from a program's arguments whether it was told to fetch a secret: by a path, or by a command that does."""

from __future__ import annotations

import re

from remit.detectors.hints import basename, inline_code, is_shell, program_names
from remit.detectors.secret_places import secret_at

# These carry text that nobody opens.
_TEXT_ONLY = frozenset(
    {"echo", "printf", "test", "[", "true", "false", "logger", "mkdir", "basename", "dirname", "expr"}
)
_TEXT_OPTIONS = ("-m", "--message", "-e", "--regexp", "--title", "--body")
_PATH_IN_TEXT = r"(?:~|\$HOME|\$\{HOME\}|\.\.|/[\w.@+-]+)(?:/[\w.@+-]+)+|(?<![\w/])\.[\w-]+(?:/[\w.@+-]+)+"

# program -> words that all stand among its arguments, in this order.
_COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "git": (("credential", "fill"), ("credential-store", "get"), ("credential-cache", "get")),
    "git-credential-store": (("get",),),
    "gpg": (("--export-secret-keys",), ("--export-secret-subkeys",), ("--export-secret-key",)),
    "gpg2": (("--export-secret-keys",), ("--export-secret-subkeys",)),
    "gh": (("auth", "token"),),
    "gcloud": (("auth", "print-access-token"), ("auth", "print-identity-token")),
    "aws": (("configure", "export-credentials"), ("sts", "get-session-token"), ("configure", "get")),
    "az": (("account", "get-access-token"),),
    "kubectl": (("config", "view", "--raw"),),
    "secret-tool": (("lookup",), ("search",)),
    "pass": (("show",),),
    "op": (("read",), ("item", "get")),
    "vault": (("read",), ("kv", "get")),
    "getent": (("shadow",), ("gshadow",)),
    "ssh-add": (("-L",), ("-l",)),
}


def read_credential_hint(image: str, arguments: tuple[str, ...]) -> str | None:
    """What of the arguments asks for a secret, in a few words; None when nothing does."""
    if is_shell(image) or basename(image) in _TEXT_ONLY:
        return None
    words = arguments[1:]
    for name in program_names(image, arguments):
        for wanted in _COMMANDS.get(name, ()):
            if _in_order(wanted, words):
                return f"{name} {' '.join(wanted)} hands out secrets"
    named = named_secret(image, arguments)
    return f"its arguments name {named}" if named else None


def named_secret(image: str, arguments: tuple[str, ...]) -> str | None:
    """The first secret place that the arguments, or the program text among them, name."""
    code = inline_code(image, arguments)
    skip = False
    for word in arguments[1:]:
        text, skip = skip, word in _TEXT_OPTIONS
        if text or word == code:
            continue
        path = word.partition("=")[2] if word.startswith("-") and "=" in word else word
        path = path.removeprefix("file://").removeprefix("@")
        # A sentence is no path.
        if len(path) <= 4096 and " " not in path and secret_at(_rooted(path)):
            return path
    for match in re.finditer(_PATH_IN_TEXT, code[:65536]) if code else ():
        if secret_at(_rooted(match[0])):
            return match[0]
    return None


def _rooted(path: str) -> str:
    """As the patterns of places want it: `.ssh/id_rsa` and `~/.ssh/id_rsa` lie below something."""
    return path if path.startswith("/") else f"/{path}"


def _in_order(wanted: tuple[str, ...], words: tuple[str, ...]) -> bool:
    rest = iter(words)
    return all(word in rest for word in wanted)
