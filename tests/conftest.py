"""Whatever started the tests, they begin as from a terminal."""

from __future__ import annotations

import signal

# A shell that runs a command in the background has it ignore these, and what is ignored is inherited by every program.
for number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
