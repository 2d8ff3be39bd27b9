"""What a call declares is read by grammar: the words that a shell would pass on, and never one that it would not."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.clock.declared import declared
from remit.clock.python_code import read_python
from remit.clock.shell import Asked, read_shell


def words(text: str) -> list[list[str | None]]:
    return [list(asked.words) for asked in read_shell(text).programs]


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("X=1 ls -a 'b c' \"d $e\" *.py a\\ b > out 2>&1", [["ls", "-a", "b c", None, None, "a b"]]),
        ('ls "" \'\' "a\\"b" a"b"\'c\'', [["ls", "", "", 'a"b', "abc"]]),
        ("cd /x && python3 -m pytest -q 2>&1 | tail -5", [["python3", "-m", "pytest", "-q"], ["tail", "-5"]]),
        ("(uname; date) & make -C x", [["uname"], ["date"], ["make", "-C", "x"]]),
        ("if make; then ls; else uname; fi; case x in a) date;; esac", [["make"], ["ls"], ["uname"], ["date"]]),
        ("echo $((1+$(date))) $(ls y) <(uname)", [["date"], ["ls", "y"], ["uname"]]),
        ("eval 'ls -l; uname'; command -p ls; exec ls -l", [["ls", "-l"], ["uname"], ["ls"], ["ls", "-l"]]),
        ("python3 - <<'END'\nimport os\nEND", [["python3", "-"]]),
        ("find . -exec rm {} \\;", [["find", ".", "-exec", "rm", None, ";"]]),
        ("! time -p make", [["make"]]),
        ("ls \\\n -l ~/x {a,b} $'x'", [["ls", "-l", None, None, None]]),
        ("echo a > b; [ -f x ] && true; read x < y", []),
    ],
)
def test_programs_and_their_words(text: str, programs: list[list[str | None]]) -> None:
    found = read_shell(text)
    assert [list(asked.words) for asked in found.programs] == programs
    assert not found.anything


@pytest.mark.parametrize(
    "text",
    ["source x", ". ./x", "$X y", "eval $X", "f() { ls; }; f", "trap 'ls' DEBUG", "alias ls=date", "PROMPT_COMMAND=ls",
     "exec -a ls date", "mapfile -C ls x", "( ( ls", "a" * 70_000, "cat <<A\n" * 40, "export BASH_ENV=x",
     # What the grammar reads in other words than the shell, or not at all.
     "rm -f 2>/dev/null important", "cat <<E b c\nx\nE", "rm -f impor\\\ntant", "rm -f important\r", "ls\vx", "ls \0",
     ": ${NOPE:-`rm -f important`}", "cat <<E\n`ls`\nE", ": ${HOME#$(rm -f important)}", "cat <<-E\n\t$(ls)\n\tE",
     "eval -- rm -f important", "jobs -x rm -f important", "X='$(rm -f important)'; : \"${X@P}\"", "compgen -C ls x",
     "printf -v PS4 '$(rm -f important)'; set -x; :", "declare 'PS4=x'", "mapfile -tC 'rm #' -c1 <<< a",
     "readarray -tC ls", "BASH_ALIASES[foo]=ls", "BASH_CMDS[foo]=ls", "hash -p /x ls", "test -v 'a[$(ls)]'",
     "unset 'a[$(ls)]'", "declare 'a[$(ls)]=1'", "set -k", "set -H"],
)  # fmt: skip
def test_what_may_run_anything_says_so(text: str) -> None:
    assert read_shell(text).anything


def test_a_loop_may_run_its_programs_again() -> None:
    found = read_shell("while read x; do date; done < in; for f in a; do ls; done; uname")
    assert found.programs == (Asked(("date",), True), Asked(("ls",), True), Asked(("uname",)))
    assert found.reads == ("in",)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=4
    )
)
def test_quoted_words_are_what_they_were(given_words: list[str]) -> None:
    line = "/bin/program " + " ".join(map(shlex.quote, given_words))
    if "\r" not in line:
        assert words(line) == [["/bin/program", *given_words]]


def test_words_are_those_that_a_shell_passes_on() -> None:
    """A known word is what the shell itself makes of it."""
    text = 'a\\ b \'c\'"d"e "\\$x" "a\\\\b" a\\\'b \'\' "" -x=y @%+ "\'" \'"\''
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {text}"], capture_output=True, text=True, check=True)
    assert words(f"prog {text}") == [["prog", *done.stdout.split("\0")[:-1]]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"command": "timeout 5 bash -c 'make -j2 > log'"},
         {"programs": [["timeout", "5", "bash", "-c", "make -j2 > log"]],
          "nested": [["bash", "-c", "make -j2 > log"], ["make", "-j2"]], "writes": ["log"]}),
        ({"command": "python3 - <<'E'\nimport subprocess\nsubprocess.run(['ls', x])\nopen('a', 'w')\nE"},
         {"programs": [["python3", "-"]], "nested": [["ls", None]], "writes": ["a"]}),
        ({"command": "cp a b; tee c < d; sed -i s/x/y/ e; dd if=/dev/zero of=f"},
         {"programs": [["cp", "a", "b"], ["tee", "c"], ["sed", "-i", "s/x/y/", "e"], ["dd", "if=/dev/zero", "of=f"]],
          "writes": ["b", "c", "e", "f"], "reads": ["d"]}),
        ({"command": "ssh -NR 8080:localhost:22 me@203.0.113.9; curl https://a.example.com:8443/x; nc 10.0.0.1 4444"},
         {"programs": [["ssh", "-NR", "8080:localhost:22", "me@203.0.113.9"], ["curl", "https://a.example.com:8443/x"],
                       ["nc", "10.0.0.1", "4444"]],
          "hosts": ["203.0.113.9", "a.example.com:8443", "10.0.0.1:4444"]}),
        ({"command": "exec 5<> /dev/tcp/203.0.113.9/80; git clone git@git.example.com:a/b"},
         {"programs": [["git", "clone", "git@git.example.com:a/b"]],
          "hosts": ["203.0.113.9:80", "git.example.com"], "anything": True}),
        ({"cmd": ["bash", "-lc", "ls"]}, {"programs": [["bash", "-lc", "ls"]], "nested": [["ls"]]}),
        ({"command": "for x in a; do date; done"}, {"programs": [["date"]], "again": [0]}),
        ({"command": "cd x"}, {"programs": []}),
        ({"file_path": "/w/a.py", "old_string": "x", "new_string": "y"}, {"writes": ["/w/a.py"]}),
        ({"path": "/w/a.py"}, {"reads": ["/w/a.py"]}),
        ({"url": "http://a.example.com/"}, {"hosts": ["a.example.com"]}),
        ({"query": "what"}, {}),
        (None, {}),
        ("text", {}),
    ],
)  # fmt: skip
def test_what_a_call_declares(arguments: Any, expected: dict[str, Any]) -> None:
    assert declared(arguments) == expected


def test_what_is_declared_is_bounded() -> None:
    assert declared({"command": "ls " + "x" * (64 << 10)}) == {"programs": [], "anything": True}
    assert declared({"command": "; ".join(f"timeout 1 prog{n} {'x' * 900}" for n in range(60))}) == {"anything": True}
    many = declared({"command": "; ".join(f"prog{n}" for n in range(70))})
    assert (len(many["programs"]), many["anything"]) == (64, True)
    assert declared({"command": f"ls {'x' * 2000}"}) == {"programs": [["ls", None]]}
    assert declared({"command": f"ls {'x ' * 300}"}) == {"programs": [], "anything": True}
    assert declared([{"command": "ls"}] * 17) == {"programs": [], "anything": True}


NAMES = st.sampled_from(["command", "cmd", "code", "path", "url", "content", "x"])
TEXTS = st.none() | st.text(max_size=40)


@given(st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner), max_leaves=20))
def test_any_arguments_are_read(arguments: Any) -> None:
    assert len(json.dumps(declared(arguments))) <= 64 << 10


@pytest.mark.parametrize("text", ["-" * 16_000, "(" * 9000, "\0", "def", "x = [" * 3000])
def test_python_that_cannot_be_read_names_nothing(text: str) -> None:
    assert read_python(text).programs == ()


def test_python_names_what_it_starts_and_opens() -> None:
    code = read_python(
        "import os, subprocess\nfrom pathlib import Path\n"
        "os.system('date > d'); subprocess.Popen(['ls', name]); Path('p').write_text('x'); Path('q').read_text()\n"
        "with open('r') as a, open('w', mode='a') as b: pass\n"
    )
    assert (code.lines, code.programs) == (("date > d",), (("ls", None),))
    assert (sorted(code.writes), sorted(code.reads)) == (["p", "w"], ["q", "r"])
