"""Print a completion script.

examples:
  remit completion bash > ~/.local/share/bash-completion/completions/remit
  remit completion zsh > ~/.zfunc/_remit
  remit completion tcsh > ~/.remit.tcsh      and in ~/.tcshrc: source ~/.remit.tcsh
"""

from __future__ import annotations

import argparse

from remit.errors import RemitError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh", help="which shell")


def run(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise RemitError("completion needs the shtab package", hint="pip install shtab") from None
    from remit.cli import COMMANDS, command_parser

    parser = argparse.ArgumentParser(prog="remit")
    commands = parser.add_subparsers(dest="name")
    for name, (_, summary) in COMMANDS.items():
        described = command_parser(name)
        commands.add_parser(name, parents=[described], add_help=False, help=summary)
    print(shtab.complete(parser, shell=options.shell))
    return 0
