"""Whatever bytes a scope file holds, parsing it gives a scope or one ScopeError whose words are safe to print."""

from __future__ import annotations

import re
import sys

import atheris

with atheris.instrument_imports(include=["remit", "ruamel"]):
    from remit.errors import ScopeError
    from remit.scope.parse import parse_scope


def test_one_input(data: bytes) -> None:
    try:
        parse_scope(data, "scope.yaml")
    except ScopeError as problem:
        said = [problem.message, problem.hint or ""]
        if not problem.hint or not all(text.isprintable() for text in said) or max(map(len, said)) > 3000:
            raise AssertionError(f"a poor message: {said!r}") from problem
        if not re.match(r"scope\.yaml:\d+:\d+: \S", problem.message):
            raise AssertionError(f"no place: {problem.message}") from problem


def main() -> None:
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
