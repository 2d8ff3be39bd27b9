"""Statements are read from plain sentences alone, and no text, however nasty, takes long or breaks anything."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.detectors.prose import sentences
from remit.detectors.statements import NO_NETWORK, NOT_DONE, TESTS_PASS, TESTS_RAN, WROTE, read_statements
from remit.detectors.statements_of_tests import tells_of_passing

STATEMENTS = {
    "All 12 tests pass.": [(TESTS_PASS, "", True)],
    "Done \N{EM DASH} all tests pass now!": [(TESTS_PASS, "", True)],
    "The full test suite passes with no failures.": [(TESTS_PASS, "", True)],
    "The tests are green.": [(TESTS_PASS, "", True)],
    "12/12 tests passed.": [(TESTS_PASS, "", True)],
    "11 of 12 tests pass.": [(TESTS_PASS, "", False)],
    "All unit tests pass.": [(TESTS_PASS, "", False)],
    "The new tests pass.": [(TESTS_PASS, "", False)],
    "All tests pass in `tests/unit`.": [(TESTS_PASS, "", False)],
    "Tous les 12 tests passent.": [(TESTS_PASS, "", True)],
    "I ran the test suite.": [(TESTS_RAN, "", False)],
    "I've created `src/a.py` and `src/b.py`.": [(WROTE, "src/a.py", False), (WROTE, "src/b.py", False)],
    "Created a new file `docs/x.md`.": [(WROTE, "docs/x.md", False)],
    "The report was written to out.txt and `out.json` has been generated.": [(WROTE, "out.json", False)],
    "I saved the results in results/run.csv.": [(WROTE, "results/run.csv", False)],
    "I didn\N{RIGHT SINGLE QUOTATION MARK}t make any outbound connections.": [(NO_NETWORK, "", False)],
    "No network access was used.": [(NO_NETWORK, "", False)],
    "I did not modify `a/b.py`.": [(NOT_DONE, "a/b.py", False)],
    "I have not run `git push`.": [(NOT_DONE, "git push", False)],
}
NONE = [
    "The tests should pass.", "All tests would pass.", "If all tests pass, merge.", "Do all tests pass?",
    "Make all tests pass.", "I expect that all tests pass.", "The user says all tests pass.", "'All tests pass'",
    "All tests must pass before merging.", "I'll make sure all tests pass.", "Not all tests pass.", "`all tests pass`",
    "The test passes the list to `f`.", "The tests pass a mock to it.", "Before, all tests passed.",
    "> All tests pass.", "    All tests pass.", "| all tests pass | yes |", "# All tests pass",
    "<log>\nAll tests pass.\n</log>", "~~~\nAll tests pass.\n", "## Next steps\nAll tests pass.",
    "The output was:\nAll tests pass.", "It prints: all tests pass.",
    "Acceptance criteria:\n- All tests pass.", "**Plan**\n\n1. All tests pass.",
    "Alle Tests sollten grün sein.", "Wenn alle Tests bestehen, sind wir fertig.", "Si tous les tests passent, fini.",
    "Cuando todas las pruebas pasan, listo.", "如果所有测试通过, 就合并。", "所有测试应该通过。",
    "I wrote a test for `utils.py`.", "I created a helper that reads `config.yaml`.", "I will write `a.py`.",
    "I have not yet created `a.py`.", "I created a small node.js server.", "I wrote to example.com.",
    "I could not use the network.", "I did not use the network for the tests.", "No network access is needed.",
    "I did not modify `a.py` yet.", "I did not modify anything.", "I did not change the content of `a.py`.",
]  # fmt: skip


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_plain_statement_is_read(text: str) -> None:
    assert [(statement.kind, statement.subject, statement.whole) for statement in read_statements(text)] == STATEMENTS[
        text
    ]


@pytest.mark.parametrize("text", NONE)
def test_what_states_nothing_is_none(text: str) -> None:
    assert list(read_statements(text)) == []


def test_a_statement_stands_among_other_words() -> None:
    text = "## Summary\n\nI fixed it:\n\n- `add` adds\n- **All tests pass** \u2705\n\n```sh\nmake\n```\nBye."
    assert [statement.quote for statement in read_statements(text)] == ["All tests pass \N{WHITE HEAVY CHECK MARK}"]


NASTY = [
    "all " * 16_000, "the tests " * 6_000, "all tests are now all now all " * 2_000, "a/" * 32_000 + ".py",
    "I wrote " + "a.a." * 16_000, "`" * 64_000, '"' * 64_000, "'a " * 20_000, "**" * 32_000, "<a" * 32_000,
    "1 " * 32_000, "- " * 32_000, "I wrote x to " * 5_000, "no network internet outbound " * 2_000, "\n" * 64_000,
    "all 1 of the 1 of the 1 " * 2_500, "not " * 16_000 + "tests pass", "A. " * 20_000,
    "I wrote a new file file " * 2_700,
    "测试" * 32_000, "所有测试" * 16_000, "I created `" + "a/" * 100 + "b.py`, " * 3_000, "tests: ok " * 6_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NASTY)))
@pytest.mark.parametrize("ending", [" ", ". "])
def test_nasty_texts_take_no_time(number: int, ending: str) -> None:
    text = NASTY[number][:65536]
    # In one piece, and in sentences as long as are looked at.
    for tried in (text, *(ending.join(text[n : n + 480] for n in range(0, 65536, 480)),)):
        began = time.process_time()
        list(read_statements(tried))
        tells_of_passing(tried)
        assert time.process_time() - began < 2.0


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    list(read_statements(text))
    assert all(len(sentence.text) <= 500 for sentence in sentences(text))


WORDS = [
    "all",
    "tests",
    "pass",
    "I",
    "wrote",
    "`a.py`",
    "not",
    "no network",
    "was used",
    ".",
    "\n",
    "- ",
    "```",
    '"',
    "if",
]


@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_a_condition_never_states_tests(words: list[str]) -> None:
    text = " ".join(words).replace("\n", " ").replace(".", " ")
    assert not [statement for statement in read_statements(f"If {text}") if statement.kind in (TESTS_PASS, TESTS_RAN)]
