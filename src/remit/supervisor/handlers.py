"""Who answers which system call, in which sight; a question that nobody here answers is refused."""

from __future__ import annotations

from collections.abc import Callable

from remit.kernel.seccomp import Question
from remit.supervisor import answer_calls, answer_files, answer_owners
from remit.supervisor.answer_calls import Handler
from remit.supervisor.answer_changes import NAMES as CHANGES
from remit.supervisor.answer_changes import Changes
from remit.supervisor.answer_network import NetworkAnswers
from remit.supervisor.answer_reads import Reads
from remit.supervisor.answer_sends import SendAnswers
from remit.supervisor.answer_signals import SIGNALS, SignalAnswers
from remit.supervisor.answer_truncate import TruncateAnswers, without_truncating
from remit.supervisor.answers import Desk
from remit.supervisor.images import ExecStops
from remit.supervisor.seen import Seen

IsQuiet = Callable[[Question, str], bool]


def handlers(
    desk: Desk,
    network: NetworkAnswers,
    sends: SendAnswers,
    signals: SignalAnswers,
    truncates: TruncateAnswers,
    stops: ExecStops,
    seen: Seen,
) -> tuple[dict[str, Handler], IsQuiet | None]:
    """The handlers by name, and in full sight what tells an open that needs no more looking at."""
    table: dict[str, Handler] = {
        **answer_calls.HANDLERS,
        **answer_owners.HANDLERS,
        **dict.fromkeys(SIGNALS, signals.send),
        **dict.fromkeys(("execve", "execveat"), stops.begin),
        **dict.fromkeys(answer_files.OPENS, answer_files.open_file),
        **dict.fromkeys(("socket", "socketpair"), network.make_socket),
        **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), sends.send),
        **dict.fromkeys(("connect", "bind", "listen"), network.answer),
    }
    is_quiet: IsQuiet | None = None
    if desk.plan.sight == "full":
        reads, changes = Reads(desk, seen), Changes(desk, seen)
        table |= {**dict.fromkeys(answer_files.OPENS, reads.open), **dict.fromkeys(CHANGES, changes.change)}
        is_quiet = reads.is_quiet
    if 0 < desk.plan.landlock_abi < 3:
        truncates.note = table.get("truncate")
        table |= {name: without_truncating(table[name]) for name in answer_files.OPENS}
        return {**table, "truncate": truncates.truncate}, is_quiet and _but_openat2(is_quiet)
    return table, is_quiet


def _but_openat2(is_quiet: IsQuiet) -> IsQuiet:
    return lambda question, name: name != "openat2" and is_quiet(question, name)
