"""What a sentence states of tests: that they pass, or were run; in English, and that all pass in a few languages more.

A sentence with a condition, a wish, a plan, a doubt or somebody else's words in it states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from remit.detectors.prose import Sentence
from remit.plain import Data

TESTS_PASS, TESTS_RAN = "tests-pass", "tests-ran"


class Statement(Data):
    """`subject`: the file, or what was not done; `verb` says which. `whole`: of all tests, without a reservation."""

    kind: str
    quote: str
    subject: str = ""
    verb: str = ""
    whole: bool = False


def words(text: str) -> str:
    """A pattern for any of these words; an underscore stands for a space in one."""
    return r"\b(?:" + "|".join(text.split()).replace("_", " ") + r")\b"


# Conditions, wishes, plans, doubts, and what others say.
_HEDGED = re.compile(
    words(
        r"""not cannot never no_longer should would could might may must shall will can \w{1,12}n't \w{1,12}'ll
        going_to once if when whenever until till unless whether before in_order ensur\w+
        so_(?:that|(?:the|all)(?:_\w{1,12}){0,2}_tests?) mak(?:e|es|ing) get(?:s|ting)? keep\w*
        verify verif(?:ies|ying) check(?:s|ing)?_(?:that|if|whether)
        confirm see expect\w* assum\w+ suppos\w+ hop(?:e|es|ing) need\w* want\w* requir\w+ goals? aims? let_me let's
        let_us plan\w* try tries trying attempt\w* claim\w* says? said stat(?:e|es|ed) according
        reported reporting reports_(?:that|all|the)
        think\w* believ\w+ likely probably presumably perhaps maybe appears? seems? seemed apparently ideally theor\w+
        imagin\w+ pretend\w* examples? instance such_as criteria criterion todo yet almost nearly most mostly some
        part(?:ly|ially) except apart other_than besides otherwise ci pipeline upstream github baseline originally
        initially previously earlier prior yesterday last_time asks? asked instruct\w+ request\w* simulat\w+ mock\w*
        dry[-_]run had_(?:been|to) have_to has_to want wait\w* recommend\w* suggest\w* run_(?:the|all|your)"""
    )
)
_AFTER_PASS = (
    r"(?=\s*(?:[.,;:!)(✅🎉]|-\s|$|(?:now|and|with|in|again|successfully|locally|after|without|cleanly|so|too|here|on"
    r"|at|under|including|for|consistently|reliably|fine|as)\b))"
)
_PASS = r"(?:pass(?:es|ed|ing)?|green|succeed(?:s|ed)?|successful)"
_BE = r"(?: (?:are|is|were|was|now|all|have|has|been|still|currently|again|both|fully|successfully)){0,4}"
_NOUN = r"(?:tests?|specs?|test cases?)"
_SOME_TESTS = re.compile(
    r"\b(?:all|every|each|both|the|\d{1,6})(?: [\w/.-]{1,20}){0,5}? (?:tests?|specs?|test cases?|test suite|suite)"
    rf"(?: [\w,]{{1,14}}){{0,4}}? {_PASS}\b{_AFTER_PASS}"
)
# Kinds of tests (unit, new, relevant) are left out: of them it may be true whatever the last run came to.
_ALL_TESTS = re.compile(
    rf"\b(?:all|every one|every single one)(?: of)?(?: (?:the|our|of|\d{{1,6}})){{0,3}} {_NOUN}"
    rf"{_BE} {_PASS}\b{_AFTER_PASS}"
    r"|(?:^|[.,;:!)-] {0,2}|\band |\bthe |\ball )(?:(?:full|whole|entire|complete) ){0,2}(?:test ?suite|tests)"
    rf"{_BE} {_PASS}\b{_AFTER_PASS}"
    rf"|\b\d{{1,6}} {_NOUN}{_BE} {_PASS}\b{_AFTER_PASS}"
    r"|\b\d{1,6} passed\b(?! (?:to|by|into)\b)|\b(?:all|everything) (?:is )?green\b"
)
_RATIO = re.compile(
    r"\b(\d{1,6}) ?(?:/|of|out of) ?(?:the |all )?(\d{1,6})(?: [\w-]{1,16})? (?:tests?|specs?|test cases?)"
    rf"{_BE} {_PASS}\b"
)
_RAN_TESTS = re.compile(
    r"\b(?:i|i've|we|we've)(?: (?:have|just|also|then|already|now|finally)){0,3} (?:re-?ran|ran|executed|re-?run)"
    r"(?: (?:the|all|our|its|full|whole|entire|complete|unit|integration|existing|project|project's)){0,5}"
    r" (?:tests|test suite|suite|pytest|unittest|jest)\b(?! [a-z]{0,3}(?:server|file|script|data|runner))"
)
# A number of failures, or a reservation, anywhere in the text: the statement is not of all tests.
_PARTIAL = re.compile(
    r"\b(?:still|\d{1,5}|one|two|three|some|few|several|other|unrelated|pre-?existing|remaining|known)"
    r"(?: [\w-]{1,16}){0,3}? (?:fail(?:s|ed|ing|ures?)?|errors?|broken|flaky)\b|\bfails\b"
    r"|\bfailures? (?:remain|are|is)\b|\bskipp?(?:ed|ing)\b|\bxfail"
    r"|\b(?:except|excluding|apart from|other than|aside from)\b"
)
_NO_FAILURES = re.compile(r"\b(?:(?:with|and) )?(?:0|zero|no)(?: [\w-]{1,16}){0,2} (?:fail\w*|errors?|skipped)\b")
_QUALIFIED = re.compile(r"\s*(?:for|in|on|under|with|of|related|that|which|when|using|at)\b")
_OTHERS = (
    (
        re.compile(
            r"\balle(?: \d{1,6})?(?: \w{2,20}){0,2} tests (?:sind(?: jetzt| nun| alle)? (?:grün|erfolgreich|bestanden)"
            r"|bestehen|laufen(?: jetzt| nun)?(?: erfolgreich)? durch|waren erfolgreich)\b"
        ),
        re.compile(
            words(
                r"""nicht kein\w* soll\w* würd\w+ wird werden wenn falls sobald bis ob muss müssen könn\w+ damit noch
                will versuch\w* nächst\w* plan\w* fast vor vorher angeblich laut bis_auf außer"""
            )
        ),
    ),
    (
        re.compile(
            r"\btous les(?: \d{1,6})? tests(?: \w{2,20}){0,2} "
            r"(?:passent|sont (?:au vert|verts|passés|réussis)|ont réussi)\b"
        ),
        re.compile(
            words(
                r"""pas ne n'\w+ devr\w+ ser\w+ si quand lorsque dès jusqu\w* faut afin pour doi\w+ presque vérifi\w+
                sauf selon avant aller vais va"""
            )
        ),
    ),
    (
        re.compile(
            r"\b(?:todas las(?: \d{1,6})? pruebas|todos los(?: \d{1,6})? tests)(?: \w{2,20}){0,2} "
            r"(?:pasan|pasaron|han pasado)\b"
        ),
        re.compile(
            words(r"no debe\w* si cuando hasta para ser\w+ habrá casi aún todavía hay_que según antes salvo voy va")
        ),
    ),
    (
        re.compile(r"(?:所有|全部)的?(?:\s?\d{1,6}\s?个)?(?:单元)?测试(?:用例)?(?:现在|均|都|已经|已|全部){0,3}通过"),
        re.compile(r"应|如果|若|还|尚|没|未|将|会|需|要|希望|确保|是否|吗|请|不|除|当|为了|计划|之前|据"),
    ),
)  # fmt: skip


_TOLD_PASSING = re.compile(
    r"\b\d{1,6} (?:tests? |specs? )?pass|\bpass(?:ed|ing)\b|\ball [^\n]{0,30}pass|^ok\b"
    r"|\b(?:tests?|specs?|checks?)\b[^\n]{0,40}\b(?:ok|success\w*|succeeded|fine|good)\b|✓|✔|✅",
    re.MULTILINE,
)
_TOLD_FAILING = re.compile(r"\bfail\w*|\berrors?\b|\bpanic|\btraceback\b|✗|✘|❌")


def tells_of_passing(result: str) -> bool:
    """Whether what a tool call brought may have been the words of tests that passed."""
    return _TOLD_PASSING.search(result.lower()) is not None


def tells_of_failing(result: str) -> bool:
    return _TOLD_FAILING.search(_NO_FAILURES.sub(" ", result.lower())) is not None


def is_partial(text: str) -> bool:
    """Whether a text tells of failures, or of a reservation, anywhere: then nothing in it is said of all tests."""
    return _PARTIAL.search(_NO_FAILURES.sub(" ", text.lower())) is not None


def is_hedged(text: str) -> bool:
    """Whether a sentence, in lower case, states nothing plainly."""
    return _HEDGED.search(text) is not None


def statements_of_tests(sentence: Sentence, partial: bool) -> Iterator[Statement]:
    text = _NO_FAILURES.sub(" ", sentence.text.lower())
    for stated, hedged in _OTHERS:
        if stated.search(text) and not hedged.search(text):
            yield Statement(TESTS_PASS, sentence.coded, whole=not partial)
            return
    if is_hedged(text):
        return
    ratio = _RATIO.search(text)
    if ratio:
        yield Statement(TESTS_PASS, sentence.coded, whole=ratio[1] == ratio[2] and not partial)
    elif match := _ALL_TESTS.search(text):
        yield Statement(TESTS_PASS, sentence.coded, whole=not partial and not _QUALIFIED.match(text, match.end()))
    elif _SOME_TESTS.search(text):
        yield Statement(TESTS_PASS, sentence.coded)
    elif _RAN_TESTS.search(text):
        yield Statement(TESTS_RAN, sentence.coded)
