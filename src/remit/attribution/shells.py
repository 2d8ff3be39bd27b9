"""Which call a program is for that a harness's own shell starts: the only one whose text can mean it, or none surely.

A harness may speak to a shell that it keeps, or that it gives a script: then no program has the call's text, but each
that the shell starts stands in it. Only children of that shell itself are looked at: what other programs start is
theirs, whatever it is called. A place in a text is one program, unless it stands in a loop. Time has no say in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from remit.events import Declared

Words = tuple[str | None, ...]
ANY: Words = ()  # any program, for nobody knows what it runs


class Asked:
    """What the calls that one process was given ask a shell to run, and which of it has been seen to run.

    A look at a program takes time in proportion to the places that name a program of that name.
    """

    def __init__(self) -> None:
        self._order: dict[str, int] = {}  # of the steps
        self._by_name: dict[str, list[tuple[str, Words]]] = {}
        self._anything: list[str] = []  # steps that may run what does not stand in their texts
        self._seen: Counter[tuple[str, Words]] = Counter()
        self._places: Counter[tuple[str, Words]] = Counter()
        self._again: set[tuple[str, Words]] = set()  # in a loop
        self._undecided: Counter[tuple[tuple[str, Words], ...]] = Counter()
        self._whole: set[str] = set()  # steps whose whole text is some program's

    def add(self, step: str, order: int, declared: Declared) -> None:
        """A call was given; `order` is the step's place among all."""
        self._order[step] = order
        if declared.anything:
            self._anything.append(step)
        for place, words in enumerate(declared.programs):
            name = _name(words[0]) if words else None
            if name is None:
                continue
            self._places[step, words] += 1
            if self._places[step, words] == 1:
                self._by_name.setdefault(name, []).append((step, words))
            if place in declared.again:
                self._again.add((step, words))

    def possible(self, since: int, program: tuple[str, ...]) -> dict[str, Words]:
        """Of the steps since one, those whose text can mean this program, with its words there, or ANY."""
        found: dict[str, Words] = {
            step: ANY for step in self._anything if self._order[step] >= since and step not in self._whole
        }
        for form in _forms(program):
            for step, words in self._by_name.get(_name(form[0]) or "", ()):
                if (
                    self._order[step] >= since
                    and step not in self._whole
                    and self._left(step, words)
                    and found.get(step, words) != ANY
                    and _fits(words[1:], form[1:])
                ):
                    # What rests on a word that is not known proves nothing: another text may be misread.
                    found[step] = ANY if None in words else words
        return found

    def _left(self, step: str, words: Words) -> bool:
        return (step, words) in self._again or self._seen[step, words] < self._places[step, words]

    def whole(self, step: str) -> None:
        """A program was found that was given the whole text: what it names that program starts, and no shell."""
        self._whole.add(step)

    def seen(self, step: str, words: Words) -> None:
        """A program was found to be the step's."""
        self._seen[step, words] += 1

    def undecided(self, possible: dict[str, Words]) -> None:
        """A program was seen that is for one of these steps. When as many were as there are places, all have run."""
        key = tuple(sorted(possible.items()))
        if any(words == ANY or (step, words) in self._again for step, words in possible.items()):
            return
        self._undecided[key] += 1
        if self._undecided[key] >= sum(max(0, self._places[place] - self._seen[place]) for place in key):
            self._seen.update({place: self._places[place] for place in key})


def _name(word: str | None) -> str | None:
    return None if word is None else word.rpartition("/")[2]


def _forms(program: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """An argument vector, and that of the script an interpreter was started for, with one option or none."""
    yield program
    if program[0].startswith("/"):
        yield from (form for form in (program[1:], program[2:]) if form)


def _fits(words: Words, program: tuple[str, ...]) -> bool:
    """None stands for any number of words: a list of files, or nothing. Time: the product of both lengths at most."""
    reached = {0}
    for word in words:
        if word is None:
            reached = set(range(min(reached), len(program) + 1)) if reached else reached
        else:
            reached = {place + 1 for place in reached if place < len(program) and program[place] == word}
    return len(program) in reached
