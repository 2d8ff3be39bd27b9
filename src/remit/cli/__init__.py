"""The command line: one table of commands, each in a module of its own that is imported only when it is called.

A command module has two functions: `add_arguments(parser)` declares its options and `run(options)` returns the exit
status. The way from `remit run` to the agent's first instruction passes here, so this module imports nothing heavy.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from remit import __version__
from remit.cli.own_modules import keep_to_own_modules
from remit.errors import RemitError, UsageError, one_line

if TYPE_CHECKING:
    import argparse

COMMANDS = {
    "run": ("remit.cli.run", "run a command inside its scope"),
    "exec": ("remit.cli.exec", "run a command inside a session that is already running, as one step"),
    "gateway": ("remit.cli.gateway", "make the tool calls of a harness's model steps of a running session"),
    "stop": ("remit.cli.stop", "freeze a running session, or end it"),
    "resume": ("remit.cli.resume", "let a frozen session go on"),
    "mcp": ("remit.cli.mcp", "run an MCP server inside its scope; each tool call is a step"),
    "report": ("remit.cli.report", "say what was tried, what held, and who did it"),
    "replay": ("remit.cli.replay", "recompute the findings from the evidence and compare"),
    "verify": ("remit.cli.verify", "check the evidence's hash chain and signatures"),
    "key": ("remit.cli.key", "print the public key that evidence is signed with"),
    "scope": ("remit.cli.scope", "check, explain, or print the schema of scope files"),
    "doctor": ("remit.cli.doctor", "say what this machine can enforce, and prove each wall from inside"),
    "demo": ("remit.cli.demo", "see a scripted agent's tunnel and miner stopped"),
    "hook": ("remit.cli.hook", "tell the session what an agent's command hook says, or install it"),
    "otlp": ("remit.cli.otlp", "run a command inside, and make claims of what its telemetry says"),
    "completion": ("remit.cli.completion", "print a completion script for bash, zsh or tcsh"),
}

_LONGEST_ERROR = 8000
_READER_GONE = 141  # as a shell has it for SIGPIPE
_OUTPUT_LOST = 1  # and not Python's own 120, which says that a verdict ended a session
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def entry() -> None:
    """The console script: as `main`, then out at once, because taking the interpreter apart would cost 10 ms."""
    _open_closed_streams()
    # Objects made while importing are never garbage; looking for cycles among them is wasted time.
    gc.disable()
    keep_to_own_modules()
    try:
        status = main()
    except SystemExit as ended:  # argparse has printed help
        status = int(ended.code or 0)
    try:
        sys.stdout.flush()
    except OSError as problem:
        status = _lose_output(problem)
    os._exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; every RemitError becomes one line and a hint on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in COMMANDS:
            return _run_command(words[0], words[1:])
        if words and not words[0].startswith("-"):
            import difflib  # only a mistake pays for it

            close = difflib.get_close_matches(words[0], COMMANDS, n=1)
            hint = f"remit {close[0]}" if close else "remit --help"
            raise UsageError(f"unknown command: {words[0]}", hint=hint)
        _overview().parse_args(words)
        _overview().print_help()
        return 2 if words else 0
    except RemitError as problem:
        print_error(problem)
        return problem.exit_status
    except OSError as problem:
        # The reader of our output went away (`remit report | head`), or its disk is full: no file's name is told then.
        if isinstance(problem, BrokenPipeError) or (problem.errno in _NO_SPACE and problem.filename is None):
            return _lose_output(problem)
        raise
    except KeyboardInterrupt:
        return 130  # as a shell has it


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command, also used to generate completions and to test the help texts."""
    from remit.cli.parser import Parser, raw_text

    module_name, summary = COMMANDS[name]
    module = importlib.import_module(module_name)
    parser = Parser(
        prog=f"remit {name}",
        description=(module.__doc__ or summary),
        formatter_class=raw_text,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def print_error(problem: RemitError) -> None:
    # Paths and other people's words are in these, and this may be a terminal.
    lines = f"remit: {one_line(problem.message, _LONGEST_ERROR)}\n"
    if problem.hint:
        lines += f"hint: {one_line(problem.hint, _LONGEST_ERROR)}\n"
    try:
        sys.stderr.write(lines)
        sys.stderr.flush()
    except OSError:
        pass  # nobody can be told; the exit status stays


def _lose_output(problem: OSError) -> int:
    """Give up what could not be written, which would fail once more at the end; the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(problem, BrokenPipeError):
        return _READER_GONE
    print_error(RemitError(f"cannot write the output: {problem.strerror}"))
    return _OUTPUT_LOST


def current_directory() -> str:
    """Where we are. Raises UsageError when that has been removed."""
    try:
        return os.getcwd()
    except OSError as problem:
        was = os.readlink("/proc/self/cwd")  # "/where/it/was (deleted)"
        raise UsageError(
            f"cannot use the current directory: {problem.strerror}: {was}", hint="cd to a directory that is there"
        ) from problem


def _open_closed_streams() -> None:
    """What is opened next gets the number of a standard stream that is closed, and would pass for it with the agent."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _run_command(name: str, words: list[str]) -> int:
    if name == "run" and words[:1] == ["--"]:
        from remit.cli.run import Options, run_command

        # Without options there is nothing to parse, and to load what parses takes 4 ms of the agent's time.
        return run_command(Options(tuple(words[1:])))
    if name == "hook" and not words and not os.isatty(0):
        from remit.clock.hooks import tell

        return tell()  # an agent waits for it at every tool call
    options = command_parser(name).parse_args(words)
    status: int = options.run(options)
    return status


def _overview() -> argparse.ArgumentParser:
    from remit.cli.parser import Parser, raw_text

    listing = "\n".join(f"  {name:<12}{summary}" for name, (_, summary) in COMMANDS.items())
    parser = Parser(
        prog="remit",
        usage="remit COMMAND [OPTION]...",
        description="Declare what an agent's task may do, run it inside walls the kernel enforces, and keep the proof.",
        epilog=f"commands:\n{listing}\n\n`remit COMMAND --help` explains one command.",
        formatter_class=raw_text,
    )
    parser.add_argument("--version", action="version", version=f"remit {__version__}")
    return parser
