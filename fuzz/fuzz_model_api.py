"""Whatever bytes a model or an agent sends, reading them raises nothing, and finds the same whole or piece by piece.

The first byte says which language it is, the second how large the pieces are; an answer and a request are tried.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["remit"]):
    from remit.clock.codings import decoded
    from remit.clock.declared import declared
    from remit.clock.model_api import CHAT, MESSAGES, RESPONSES, AnswerReader, ToolCall, parse, results_in
    from remit.clock.told import told_by
    from remit.clock.transcript import Transcript
    from remit.clock.turns import Turns
    from remit.detectors.statements import read_statements

LANGUAGES = (MESSAGES, CHAT, RESPONSES)


def calls_of(language: str, pieces: list[bytes]) -> tuple[list[ToolCall], list[str]]:
    """The calls of an answer, and what it says beside them."""
    reader = AnswerReader(language)
    found = [call for piece in pieces for call in reader.feed(piece)]
    return found + reader.finish(), reader.said.take()


def test_one(data: bytes) -> None:
    if len(data) < 3:
        return
    language, size, body = LANGUAGES[data[0] % 3], data[1] % 64 + 1, data[2:]
    whole, said = calls_of(language, [body])
    pieces = calls_of(language, [body[start : start + size] for start in range(0, len(body), size)])
    if (whole, said) != pieces:
        raise AssertionError(f"{whole} {said} in one piece, {pieces} in pieces of {size}")
    turns = Turns()
    marks = turns.delivered("1:1", whole) + turns.brought("1:1", {call.id for call in whole})
    json.dumps(marks)
    for coding in ("", "gzip", "deflate", "br"):
        try:
            results_in(language, b"".join(decoded(coding, body)))
        except ValueError:
            continue
    request = parse(body.decode("utf-8", "replace"))
    if isinstance(request, dict):
        json.dumps(Transcript("full").request("1:1", language, told_by(language, request, {"x"}), {}, body))
    text = body.decode("utf-8", "replace")
    list(read_statements(text))
    json.dumps(declared({"command": text}))
    json.dumps(declared({"code": f"python3 - <<'E'\n{text}\nE", "path": text}))


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one)
    atheris.Fuzz()
