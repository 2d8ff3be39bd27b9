"""A scope is accepted whole, or refused with one ScopeError that says where, what, and what to write instead."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.errors import ScopeError
from remit.scope.default import default_scope
from remit.scope.parse import parse_scope

HEAD = "remit: 1\ntask: fix-failing-test\n"


def refuse(text: str | bytes) -> ScopeError:
    with pytest.raises(ScopeError) as caught:
        parse_scope(text if isinstance(text, bytes) else text.encode(), "scope.yaml")
    return caught.value


def test_the_full_example_is_understood() -> None:
    scope = parse_scope(
        b"""
remit: 1
task: fix-failing-test
purpose: Make the test suite in the workspace pass.
use: [base, python, git]
files:
  write:   [$WORKSPACE, $TMPDIR]
  read:    [~/.config/git]
  execute: [/opt/tools]
  secrets: [~/.ssh, ~/.aws]
processes: {at-most: 256}
network:
  connect: [{cidr: 127.0.0.0/8, port: 8000-8100}, {cidr: "::1", port: 443}]
  listen:  [{port: 0}]
  unix:    []
devices: {gpu: none}
compute: {cpu: 20m, memory: 8GiB, wall: 1h30m, gpu: 0}
environment: {pass: [LANG, TERM], set: {CI: "1"}}
otherwise: deny
nested-sandbox: refuse
respond: {reverse-tunnel: kill, crypto-mining: freeze}
accept-gaps: [secret-inside-grant]
"""
    ).scope
    assert scope.processes.at_most == 256
    assert [(c.cidr, c.port) for c in scope.network.connect] == [
        ("127.0.0.0/8", (8000, 8100)),
        ("::1/128", (443, 443)),
    ]
    assert scope.network.listen[0].cidr is None
    assert (scope.compute.cpu, scope.compute.memory, scope.compute.wall) == (1200, 8 * 2**30, 5400)
    assert scope.environment.set == {"CI": "1"}
    assert scope.respond == {"reverse-tunnel": "kill", "crypto-mining": "freeze"}


def test_the_default_scope_is_a_scope() -> None:
    scope = parse_scope(default_scope(), "default").scope
    assert scope.use == ["base", "git", "python", "node"]
    assert scope.devices.gpu == "none"
    assert not scope.network.connect


# What is written after HEAD, then where the error is, a part of the message, a part of the hint.
WRONG: list[tuple[str, tuple[int, int], str, str]] = [
    ("files: {wrte: [a]}", (3, 9), "unknown key in files: wrte", "did you mean write?"),
    ("fils: {}", (3, 1), "unknown key: fils", "did you mean files?"),
    ("network: {connect: [{cdir: ::1, port: 1}]}", (3, 22), "network.connect[0]: cdir", "did you mean cidr?"),
    ("processes: {at_most: 4}", (3, 13), "at_most", "did you mean at-most?"),
    ("use: [bas]", (3, 7), "use[0]: not one of", "did you mean base?"),
    ("use: base", (3, 6), "use: must be a list: base", "[base]"),
    ("files: {read: [1]}", (3, 16), "must be text: 1", '"1"'),
    ("environment: {set: {CI: true}}", (3, 25), "must be text: true", '"true"'),
    ("environment: {pass: [LC_*]}", (3, 22), "not the name", "patterns"),
    ("compute: {memory: 8G}", (3, 19), "compute.memory: not a size: 8G", "8GiB"),
    ("compute: {wall: 20}", (3, 17), "compute.wall: not a duration: 20", "20m"),
    ("compute: {gpu: 5m}", (3, 16), "not supported yet", "gpu: 0"),
    ("network: {connect: [{cidr: 10.0.0.1/8, port: 3}]}", (3, 28), "bits beyond its length", "10.0.0.0/8"),
    ("network: {connect: [{cidr: selfish, port: 3}]}", (3, 28), "not a network", "10.0.0.0/8"),
    ("network: {connect: [{cidr: example.com, port: 3}]}", (3, 28), "not a network", "10.0.0.0/8"),
    ("network: {connect: [{cidr: '::ffff:1.2.3.4', port: 3}]}", (3, 28), "IPv4 address inside IPv6", "IPv4"),
    ("network: {connect: [{cidr: ::1, port: 9-8}]}", (3, 39), "runs backwards: 9-8", "8-9"),
    ("network: {connect: [{cidr: ::1}]}", (3, 21), "missing key: network.connect[0].port", "port"),
    ("evidence: {when-full: drop}", (3, 23), "evidence.when-full", "end"),
    ("evidence: {when_full: end}", (3, 12), "when_full", "did you mean when-full?"),
    ("otherwise: ask", (3, 12), "otherwise: not supported yet: ask", "leave"),
    ("nested-sandbox: usrns", (3, 17), "not one of refuse userns mount: usrns", "userns"),
    ("model: {api: anthropic}", (3, 8), "missing key: model.upstream", "add `upstream:`"),
    ("phases: []", (3, 9), "phases: must be a mapping of keys: a list", "files network devices survivors"),
    ("phases: {Setup: {}}", (3, 10), "not the name of a phase: Setup", "small letters"),
    ("respond: {reverse-tunel: kill}", (3, 11), "reverse-tunel", "did you mean reverse-tunnel?"),
    ("respond: {reverse-tunnel: kil}", (3, 27), "kil", "did you mean kill?"),
    ("accept-gaps: [file-unwalled]", (3, 15), "no wall gap has this name", "did you mean files-unwalled?"),
    ("task: again", (3, 1), "the same key twice: task", "merge"),
    ("files:", (3, 1), "files: must be a mapping of keys: nothing", "beneath"),
    ("1: a", (3, 1), "a key must be a word: 1", "key: value"),
    ("? [a]\n: b", (3, 3), "a key must be a word", "key: value"),
    ("purpose: &a x", (3, 10), "anchors and aliases", "write the value out"),
    ("purpose: *a", (3, 10), "anchors and aliases", "write the value out"),
    ("purpose: !!python/object x", (3, 10), "tags are not allowed", "plain"),
    ("purpose: !!map {}", (3, 10), "tags are not allowed", "plain"),
    ('purpose: "a\\u202eb"', (3, 10), "not one line of visible characters", "plain"),
    ("--- a", (3, 1), "more than one YAML document", "one scope"),
]


@pytest.mark.parametrize(("text", "position", "message", "hint"), WRONG, ids=[row[0] for row in WRONG])
def test_errors_say_where_what_and_what_instead(text: str, position: tuple[int, int], message: str, hint: str) -> None:
    problem = refuse(HEAD + text + "\n")
    assert (problem.line, problem.column) == position
    words = message.split(": ")
    assert all(word in problem.message for word in words)
    assert hint in (problem.hint or "")
    assert problem.message.startswith(f"scope.yaml:{position[0]}:{position[1]}: ")
    assert "\n" not in problem.message


def test_files_that_are_no_scope_at_all() -> None:
    assert "empty" in refuse("").message
    assert "mapping" in refuse("[]").message
    assert "missing key: remit" in refuse("task: x").message
    assert "missing key: task" in refuse("remit: 1").message
    assert "not a version of this language: 2" in refuse("remit: 2\ntask: x").message
    assert "not UTF-8" in refuse(b"remit: 1\ntask: \xff").message
    assert (refuse(b"remit: 1\ntask: \xff").line, refuse(b"remit: 1\ntask: \xff").column) == (2, 7)
    assert "too large" in refuse("#" * 300_000).message
    assert "levels deep" in refuse(HEAD + "purpose: " + "[" * 5000).message
    assert "levels deep" in refuse(HEAD + "purpose: " + "{a: " * 5000).message
    assert "not valid YAML" in refuse(HEAD + "purpose: \t- a").message
    assert "not valid YAML" in refuse(HEAD + 'purpose: "\\UFFFFFFFF"').message
    assert "UTF-8" in refuse(HEAD + 'purpose: "\\ud800"').message


def test_words_that_other_yaml_readers_would_change_stay_words() -> None:
    scope = parse_scope((HEAD + "environment: {set: {A: no, B: 1:30, C: 2024-01-01, D: 0x10}}").encode()).scope
    assert scope.environment.set == {"A": "no", "B": "1:30", "C": "2024-01-01", "D": "0x10"}


def parsed_or_refused(data: bytes) -> None:
    """Anything but a ScopeError fails the test, and its message is one line that is safe to print."""
    message = ""
    try:
        parse_scope(data, "scope.yaml")
    except ScopeError as problem:
        message = problem.message + (problem.hint or "")
    assert message.isprintable()


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    parsed_or_refused(data)


_YAML_PIECES = st.sampled_from(
    [
        *("remit: 1\n", "task: x\n", "files:", "  write: ", "network: {connect: [", "respond: {", "compute: {memory: "),
        *("- ", "? ", ": ", "&a ", "*a", "!!str ", "<<: ", "[", "]", "{", "}", ",", "|\n", ">-\n", "'", '"', "#"),
        *(
            "\\x",
            "\\U",
            "%YAML 1.1\n",
            "---\n",
            "...\n",
            "\t",
            " ",
            "\n",
            "9" * 30,
            "1e999",
            ".nan",
            "~",
            "null",
            "$HOME",
        ),
        *("\u0000", "\ufeff", "\u2028"),
    ]
)


@settings(max_examples=800, deadline=None)
@given(st.lists(_YAML_PIECES | st.text(max_size=5), max_size=25))
def test_no_yaml_like_text_raises_anything_else(pieces: list[str]) -> None:
    parsed_or_refused(("remit: 1\n" + "".join(pieces)).encode("utf-8", "surrogatepass"))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1h", "8GiB"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_KEYS = ("purpose", "use", "files", "processes", "network", "devices", "compute", "environment", "otherwise", "respond")


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=4))
def test_no_values_raise_anything_else(values: dict[str, object]) -> None:
    parsed_or_refused(json.dumps({"remit": 1, "task": "x", **values}).encode())
