"""The sentences of a model's text in which it states something itself: no code, quotes, questions, plans or headings.

Who writes the text may be hostile, so every step takes time in proportion to it. What is odd or endless is left out: a
sentence that is missed is a statement that is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from remit.plain import Data

_LONGEST = 64 << 10
_LONGEST_LINE, _LONGEST_SENTENCE, _MOST_SENTENCES = 4000, 500, 1000

_FENCE = ("```", "~~~")
_ITEM = re.compile(r"\s{0,8}(?:[-*+•]|\d{1,3}[.)])\s+(.*)")
_BOX = re.compile(r"\[( |x|X)\]\s*(.*)")
_TAG = re.compile(r"\s{0,3}<(/?)([A-Za-z][\w-]{0,40})[^<>]{0,200}>")
_END = re.compile(r"(?<=[.!?])[)'*]{0,3}\s+|(?<=[。!?])")
_QUOTED = re.compile(r"\"[^\"\n]{0,300}\"|«[^»\n]{0,300}»|「[^」\n]{0,300}」|(?<![\w'])'[^'\n]{2,200}'(?![\w'])")
_CODE = re.compile(r"`[^`\n]{0,300}`")
_TAKEN_OUT = " ¤ "
# Apostrophes, quotation marks, dashes and full-width signs are written in many ways.
_ALIKE = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x201E: '"', 0x2013: " - ", 0x2014: " - "} | {
    0xFF01: "!", 0xFF1F: "?", 0xFF1A: ":", 0xFF0C: ", ", 0x2026: ". ", 0xA0: " ",
}  # fmt: skip
# What stands beneath such a heading, or behind such words and a colon, is no report of what was done.
_NO_REPORT = re.compile(
    r"\b(?:plan\w*|todo|to-do|to do|next|remaining|steps?|goals?|aims?|criteria|criterion|requirements?|expect\w*|"
    r"acceptance|checklist|should|will|would|must|need\w*|want\w*|if|when|once|until|future|propos\w*|suggest\w*|"
    r"recommend\w*|options?|ideas?|hypothes\w*|assum\w*|examples?|e\.g|template|message|prompt|quot\w*|output|log|logs|says|said|"
    r"prints?|reads|reported|task|issue|instructions?|asked|definition|usage|how|before|previous\w*|original\w*|claims?|"
    r"plan|nächst\w*|schritte|ausgabe|étapes?|sortie|pasos|salida)\b|计划|步骤|接下来|输出",
    re.IGNORECASE,
)


class Sentence(Data):
    """`text` has its quotes and code blanked; `coded` still has the code, in which names of files stand."""

    text: str
    coded: str


def sentences(text: str) -> Iterator[Sentence]:
    """What may be statements of the model's own, in their order."""
    count = 0
    for block in _blocks(text[:_LONGEST].translate(_ALIKE)):
        for raw in _END.split(block):
            sentence = raw.strip()
            if not sentence or len(sentence) > _LONGEST_SENTENCE or sentence.endswith("?"):
                continue
            coded = _QUOTED.sub(_TAKEN_OUT, sentence)
            before, colon, _ = coded.partition(": ")
            if colon and _mutes(before):
                continue
            if '"' in coded:
                continue  # where a quotation ends is anybody's guess
            count += 1
            if count > _MOST_SENTENCES:
                return
            yield Sentence(_CODE.sub(_TAKEN_OUT, coded), coded)


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and items of lists, each in one line."""
    fence = tag = ""
    paragraph: list[str] = []
    muted_section = muted = False  # `muted`: the paragraph or list that follows such words and a colon
    for line in text.split("\n"):
        bare = line.strip()
        if fence or tag:
            if bare.startswith(fence) if fence else f"</{tag}>" in line.lower():
                fence = tag = ""
            continue
        if not bare:
            if paragraph:
                if not (muted_section or muted):
                    yield " ".join(paragraph)
                muted = False
                paragraph.clear()
            continue
        item, opened, label = _ITEM.match(line), _TAG.match(line), bare.startswith("#") or _is_label(bare)
        odd = len(line) > _LONGEST_LINE or bare[:1] in (">", "|") or bare.startswith(_FENCE) or opened is not None
        plain = not (item or label or odd or line.startswith(("    ", "\t")))
        if plain:
            paragraph.append(_plain(bare))
        if paragraph and (not plain or bare.endswith(":")):
            if not (muted_section or muted):
                yield " ".join(paragraph)
            muted = paragraph[-1].endswith(":") and _mutes(paragraph[-1])
            paragraph.clear()
        if bare.startswith(_FENCE):
            fence = bare[:3]
        elif opened:
            name = opened[2].lower()
            tag = name if not opened[1] and f"</{name}>" not in line.lower() else ""
        elif label:
            muted_section, muted = _mutes(bare), False
        elif item and not odd and not (muted_section or muted) and (done := _unboxed(item[1])):
            yield _plain(done)
    if paragraph and not (muted_section or muted):
        yield " ".join(paragraph)


def _is_label(line: str) -> bool:
    """A line such as **Next steps**, which is a heading in all but name."""
    return line.startswith("**") and line.rstrip(":").endswith("**") and line.count("**") == 2 and len(line) < 100


def _mutes(line: str) -> bool:
    return _NO_REPORT.search(line[-300:]) is not None


def _unboxed(item: str) -> str:
    """An item of a list; one with a box counts when the box is ticked."""
    box = _BOX.match(item)
    if box is None:
        return item
    return box[2] if box[1] != " " else ""


def _plain(text: str) -> str:
    return text.replace("**", "").replace("__", " ") if "`" not in text else text.replace("**", "")
