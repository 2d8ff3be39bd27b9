"""Whether a program runs tests: surely (a test runner), through others (make, npm), or maybe, by any word of it.

Nothing is judged by a name alone: what counts is that none ran, or with which status the last one ended.
"""

from __future__ import annotations

from remit.detectors.hints import SHELLS, basename, is_interpreter

LEAF, WRAPPER, MAYBE, OPAQUE = "leaf", "wrapper", "maybe", "opaque"

_LEAVES = frozenset({
    "pytest", "py.test", "pytest-3", "nosetests", "nose2", "trial", "jest", "vitest", "mocha", "_mocha", "ava",
    "karma", "phpunit", "pest", "rspec", "ctest", "bats", "busted", "prove", "gotestsum", "cargo-nextest",
    "unittest", "doctest",
})  # fmt: skip
_LEAF_WORDS = frozenset({
    "go test", "cargo test", "cargo t", "cargo nextest", "dotnet test", "swift test", "mix test", "zig test",
    "deno test", "bun test", "node --test", "dart test", "flutter test", "stack test", "cabal test",
    "manage.py test", "django test", "crystal spec",
})  # fmt: skip
_WRAPPERS = frozenset({"tox", "nox"})
_WRAPPING = frozenset({
    "make", "gmake", "ninja", "just", "task", "rake", "npm", "yarn", "pnpm", "npx", "gradle", "gradlew", "mvn",
    "mvnw", "bazel", "meson", "composer", "hatch", "pdm", "poetry", "pipenv", "uv", "setup.py", "coverage", "cargo",
    "invoke",
})  # fmt: skip
# Only look, or move and name things; what they start themselves is seen when it starts.
_HARMLESS = frozenset({
    "git", "grep", "egrep", "fgrep", "rg", "ag", "find", "fd", "cat", "bat", "ls", "tree", "head", "tail", "sed",
    "awk", "wc", "diff", "cmp", "stat", "file", "less", "more", "echo", "printf", "mkdir", "touch", "cp", "mv",
    "rm", "rmdir", "ln", "chmod", "cd", "pwd", "export", "set", "sort", "uniq", "cut", "tr", "tee", "basename",
    "dirname", "realpath", "which", "true", "false", "sleep", "test", "[", "[[", ":", "#", "nl", "od", "readlink",
    "du", "pip", "pip3", "kill", "apply_patch", "patch", "vi", "vim", "nano", "date", "env", "xxd", "type",
    "command", "tar", "curl", "wget",
})  # fmt: skip
_INTERPRETERS = frozenset({
    "java", "dotnet", "mono", "Rscript", "R", "julia", "elixir", "erl", "escript", "ocaml", "racket", "sbcl", "guile",
    "tclsh", "swipl", "octave", "jq", "sqlite3", "psql", "gdb", "expect",
})  # fmt: skip
_KEYWORDS = frozenset({"if", "elif", "then", "else", "do", "while", "until", "!", "time", "{", "("})
_TRACES = ("test", "spec", "check", "verif", "assert", "tox", "nox", "valid", "suite", "prove", "bats", "mocha", "jest")
_ASKS_ONLY = frozenset({"--version", "-V", "--help", "-h", "--collect-only", "--co", "--listTests", "--list"})
_LONGEST = 1 << 16  # characters of a program's text that are looked at
_OWN_PLACES = ("/usr/", "/bin/", "/sbin/", "/opt/", "/nix/", "/gnu/", "/snap/")


def runs_tests(image: str, arguments: tuple[str, ...]) -> str:
    """LEAF, WRAPPER, MAYBE, OPAQUE (it could hold anything, tests too), or nothing."""
    names = _names(image, arguments)
    program, *rest = names or [""]
    if program in SHELLS:
        if may_test(_line(arguments)) or _has_trace([_script(arguments)]):
            return MAYBE
        return OPAQUE if _script(arguments).endswith(".sh") else ""
    if any(word in _ASKS_ONLY for word in arguments[1:8]):
        return MAYBE if program in _LEAVES | _WRAPPERS else ""
    if program in _LEAVES or " ".join((program, *rest[:1])) in _LEAF_WORDS:
        return LEAF
    if program in _WRAPPERS or (program in _WRAPPING and _has_trace(rest[:6])):
        return WRAPPER
    if program in _HARMLESS and image.startswith(_OWN_PLACES):
        return ""
    if _has_trace([basename(image), *names]) or "junit" in " ".join(arguments[:64]).lower():
        return MAYBE
    name = basename(image)
    return OPAQUE if is_interpreter(name) or name in _INTERPRETERS or not image.startswith(_OWN_PLACES) else ""


def may_test(line: str) -> bool:
    """Whether a shell's text may run tests: some command of it other than those that only look or speak."""
    for part in _commands(line[:_LONGEST]):
        words = [word for word in part.split() if "=" not in word or not word.partition("=")[0].isidentifier()]
        while words and words[0] in _KEYWORDS:
            words.pop(0)
        program = basename(words[0].strip("(){}\"'")) if words else "for"
        if program not in ("for", "case") and program not in _HARMLESS and _has_trace(words):
            return True
    return False


def _names(image: str, arguments: tuple[str, ...]) -> list[str]:
    """The program and its words; of an interpreter the module or script, and its words."""
    words = list(arguments[1:12])
    name = basename(image)
    if not is_interpreter(name) or not words:
        return [name, *words]
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c", "--test", "-"):
        words.pop(0)  # -u, -X dev and the like
    if words[:1] == ["-m"]:
        module = words[1:2] and words[1].rpartition(".")[2] if words[1:2] != ["coverage"] else "coverage"
        return [module or "", *words[2:]]
    if not words or words[0] == "--test":
        return [name.rstrip("0123456789."), *words]
    script = basename(words[0])
    for ending in (".js", ".mjs", ".cjs"):
        script = script.removesuffix(ending)
    if name.startswith("python") and words[0] == "-c":
        return ["-c", *words[1:]]
    return [script, *words[1:]]


def _line(arguments: tuple[str, ...]) -> str:
    """The text of `sh -c TEXT`."""
    for place, word in enumerate(arguments[1:-1], start=1):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return arguments[place + 1]
        if not word.startswith("-"):
            return ""
    return ""


def _script(arguments: tuple[str, ...]) -> str:
    """The script that a shell was given, or the program that a runner such as timeout was."""
    words = [word for word in arguments[1:6] if not word.startswith("-")]
    return words[0] if words and not _line(arguments) else ""


def _commands(text: str) -> list[str]:
    """A shell's text, cut at what separates commands, without the bodies of here-documents."""
    found: list[str] = []
    waiting = ""
    for line in text.split("\n"):
        if waiting:
            if line.strip() == waiting:
                waiting = ""
            continue
        before, mark, after = line.partition("<<")
        if mark and not after.startswith("<"):
            waiting = after.lstrip("-").strip().split(" ")[0].strip("'\"")
        for separator in ("&&", "||", ";", "|", "&", "$(", "`"):
            before = before.replace(separator, "\n")
        found += before.split("\n")
    return found


def _has_trace(words: list[str]) -> bool:
    text = " ".join(words)[:_LONGEST].lower()
    return any(trace in text for trace in _TRACES)
