"""What a model's text states as done: tests that pass, files that were written, networks not used, things not done.

Only plain statements about what is. Patterns have no nested repetition and sentences are short, so that no text takes
long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from remit.detectors.prose import Sentence, sentences
from remit.detectors.statements_of_tests import (
    TESTS_PASS,
    TESTS_RAN,
    Statement,
    is_hedged,
    is_partial,
    statements_of_tests,
    words,
)

__all__ = ["NOT_DONE", "NO_NETWORK", "TESTS_PASS", "TESTS_RAN", "WROTE", "Statement", "read_statements"]

WROTE, NO_NETWORK, NOT_DONE = "wrote", "no-network", "not-done"


def read_statements(text: str) -> Iterator[Statement]:
    """The statements of one text, in their order."""
    partial = is_partial(text)
    for sentence in sentences(text):
        yield from statements_of_tests(sentence, partial)
        yield from _about_files(sentence)
        yield from _about_network(sentence)
        yield from _about_undone(sentence)


_EXTENSIONS = (
    "py pyi js mjs cjs jsx ts tsx md rst txt json jsonl yaml yml toml ini cfg conf c h cc cpp hpp rs go java kt rb php "
    "sh bash sql html css scss csv tsv xml svg ipynb diff patch log lock lua pl r swift scala ex exs zig vue"
).replace(" ", "|")
_FILE = rf"(?:[\w.@+~-]{{1,60}}/|/){{0,16}}[\w.@+-]{{1,80}}\.(?:{_EXTENSIONS})"
_NAMED = rf"(?:`({_FILE})`|(?<![\w/.@:`-])({_FILE})(?![\w/`-]))"
_WROTE_IT = re.compile(
    r"(?:^|\b(?:i|i've|we|we've|and|then)(?: (?:have|just|now|also|then|already|successfully|first|finally)){0,3} )"
    r"(?:successfully )?(created|wrote|saved|generated|written|updated|modified|edited)"
    r"(?: (?:a|an|the|new|file|files|script|module|test|tests|config|configuration|document|report|small|simple"
    rf"|empty|called|named|it)){{0,5}}:? {_NAMED}",
    re.IGNORECASE,
)
_WROTE_TO = re.compile(
    r"(?:^|\b(?:i|i've|we|we've|and|then)(?: (?:have|just|now|also|then|already|successfully)){0,3} )"
    rf"(wrote|saved|generated|written|exported|stored)\b([^.;:`/]{{1,80}}?) (?:to|into|in|as|at) {_NAMED}",
    re.IGNORECASE,
)
_IS_WRITTEN = re.compile(
    rf"{_NAMED} (?:has been|was|is now|have been) (created|written|saved|generated)\b(?! (?:by|before|in|from|for))",
    re.IGNORECASE,
)
_AND_ALSO = re.compile(rf"(?:,| and|, and)(?: the)? {_NAMED}", re.IGNORECASE)
_ELSEWHERE = re.compile(
    words("specified described defined documented listed found from based that which for using like per")
)
_NO_FILE = re.compile(
    r"(?:node|next|vue|nuxt|express|three|d3|react|chart|socket|discord|moment|require)\.js", re.IGNORECASE
)


def _about_files(sentence: Sentence) -> Iterator[Statement]:
    if is_hedged(sentence.text.lower()):
        return
    text = sentence.coded
    for pattern in (_WROTE_IT, _WROTE_TO, _IS_WRITTEN):
        match = pattern.search(text)
        if match is None or (pattern is _WROTE_TO and _ELSEWHERE.search(match[2].lower())):
            continue
        yield from _files(match, sentence)
        while pattern is _WROTE_IT and match is not None and (match := _AND_ALSO.match(text, match.end())):
            yield from _files(match, sentence)
        return


def _files(match: re.Match[str], sentence: Sentence) -> Iterator[Statement]:
    name = next((group for group in match.groups()[-3:] if group and "." in group), "")
    if name and not _NO_FILE.fullmatch(name):
        yield Statement(WROTE, sentence.coded, name, "wrote")


_NOT = r"(?:did not|didn't|never|have not|haven't)"
_THING = r"(?:connections?|requests?|calls?|access|traffic|hosts?|servers?|services?)"
_NETWORK = re.compile(
    rf"\bno (?:network|internet|outbound|external)(?: (?:network|internet|http))?(?: {_THING})?"
    r" (?:was|were|has been|have been)"
    r" (?:used|made|opened|performed|accessed|contacted|attempted|initiated|established)\b"
    rf"|\b(?:i|we) {_NOT} (?:ever )?(?:use|used|access|accessed|make|made|open|opened|touch|touched|contact|contacted)"
    rf"(?: (?:the|any|a)){{0,2}} (?:network|internet|outbound|external|remote)(?: (?:network|internet))?(?: {_THING})?"
    rf"|\b(?:i|we) (?:made|opened|used) no (?:network|internet|outbound|external|http)(?: {_THING})?"
    rf"|\b(?:i|we) {_NOT} (?:ever )?connect(?:ed)? to"
    r" (?:the (?:network|internet)|any (?:network|host|server|external \w+))"
    r"|\bwithout (?:using|accessing|touching) (?:the |any )?(?:network|internet)\b"
    r"|\b(?:the )?(?:network|internet) was (?:not|never) (?:used|accessed|touched|contacted)\b"
)
_NETWORK_HEDGED = re.compile(
    words(
        r"""should would will if until can could may might must need\w* requir\w+ except other apart besides beyond only
        yet for during while when because since loopback local\w* localhost tests? step steps sandbox\w* allowed
        available previous\w* earlier unless ensure plan\w* to_be once so_that claim\w* said says report\w* asked please
        let_me apparently"""
    )
)


def _about_network(sentence: Sentence) -> Iterator[Statement]:
    text = sentence.text.lower()
    if _NETWORK.search(text) and not _NETWORK_HEDGED.search(text):
        yield Statement(NO_NETWORK, sentence.coded)


_UNDONE = re.compile(
    rf"\bI {_NOT} (modif(?:y|ied)|changed?|touch(?:ed)?|edit(?:ed)?|deleted?|removed?|run|ran|executed?)"
    r"(?: (?:the|file|command)){0,2} `([^`\n]{1,200})`\s*(?=[.,;:!)]|$|and\b)",
    re.IGNORECASE,
)
_UNDONE_HEDGED = re.compile(
    words(
        r"""yet except other only again content\w* logic if would should until before because unless beyond besides
        otherwise since when while anything_else could might claim\w* said says asked directly manually myself"""
    )
)
_VERBS = {
    "modif": "modify",
    "chang": "modify",
    "touch": "modify",
    "edit": "modify",
    "delet": "delete",
    "remov": "delete",
}


def _about_undone(sentence: Sentence) -> Iterator[Statement]:
    match = _UNDONE.search(sentence.coded)
    if match is not None and not _UNDONE_HEDGED.search(sentence.text.lower()):
        said = match[1].lower()
        verb = next((verb for begin, verb in _VERBS.items() if said.startswith(begin)), "run")
        yield Statement(NOT_DONE, sentence.coded, match[2].strip(), verb)
