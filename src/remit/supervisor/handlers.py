"""Who answers which system call, in which sight; a question that nobody here answers is refused.

Who answers only in full sight, or on older kernels, is loaded where that is so.
"""

from __future__ import annotations

from collections.abc import Callable

from remit.boundary.launch import Boundary
from remit.kernel.seccomp import Question
from remit.plain import Data
from remit.supervisor import answer_calls, answer_files, answer_owners, views
from remit.supervisor.answer_calls import Handler
from remit.supervisor.answer_metadata import NAMES as METADATA
from remit.supervisor.answer_metadata import Metadata
from remit.supervisor.answer_network import NetworkAnswers
from remit.supervisor.answer_sends import SendAnswers
from remit.supervisor.answer_signals import SIGNALS, SignalAnswers
from remit.supervisor.answer_sockets import SocketAnswers
from remit.supervisor.answers import Desk
from remit.supervisor.deputies import DeputyClient
from remit.supervisor.images import ExecStops
from remit.supervisor.made_sockets import MadeSockets
from remit.supervisor.questions import Questions
from remit.supervisor.seen import Seen

IsQuiet = Callable[[Question, str], bool]


class Answering(Data):
    """The handlers by name, in full sight what tells an open that needs no more looking at, and who keeps state."""

    table: dict[str, Handler]
    is_quiet: IsQuiet | None
    network: NetworkAnswers
    stops: ExecStops


def answering(
    desk: Desk, questions: Questions, deputy: DeputyClient, boundary: Boundary, seen: Seen, made: MadeSockets | None
) -> Answering:
    """Everybody who answers. `made`: sockets that are made for the agent, where they cannot be taken from it."""
    if desk.plan.view:
        views.has_view(boundary.namespaces[1])
    sends = SendAnswers(desk, deputy, questions.give, questions.is_valid, made)
    network = NetworkAnswers(desk, deputy, sends, questions.respond, made)
    stops = ExecStops(desk, questions.proceed, questions.is_valid, boundary.killable)
    sockets = SocketAnswers(deputy, made, boundary.listener, questions.give)
    metadata = Metadata(desk, deputy, questions.respond, questions.is_valid)
    signals = SignalAnswers(desk, questions.give, killable=boundary.killable)
    table: dict[str, Handler] = {
        **answer_calls.HANDLERS,
        **answer_owners.HANDLERS,
        **dict.fromkeys(SIGNALS, signals.send),
        **dict.fromkeys(("execve", "execveat"), stops.begin),
        **dict.fromkeys(answer_files.OPENS, answer_files.open_file),
        **dict.fromkeys(METADATA, metadata.change),
        **dict.fromkeys(("socket", "socketpair"), sockets.make_socket),
        **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), sends.send),
        **dict.fromkeys(("connect", "bind", "listen"), network.answer),
    }
    is_quiet: IsQuiet | None = None
    if desk.plan.sight == "full":
        from remit.supervisor.answer_changes import NAMES, Changes
        from remit.supervisor.answer_reads import Reads

        reads, changes = Reads(desk, seen), Changes(desk, seen)
        table |= {**dict.fromkeys(answer_files.OPENS, reads.open), **dict.fromkeys(NAMES, changes.change)}
        is_quiet = reads.is_quiet
    if 0 < desk.plan.landlock_abi < 3:
        from remit.supervisor.answer_truncate import TruncateAnswers, without_truncating

        truncates = TruncateAnswers(deputy, questions.respond)
        truncates.note = table.get("truncate")
        table |= {name: without_truncating(table[name]) for name in answer_files.OPENS}
        table["truncate"] = truncates.truncate
        is_quiet = is_quiet and _but_openat2(is_quiet)
    return Answering(table, is_quiet, network, stops)


def _but_openat2(is_quiet: IsQuiet) -> IsQuiet:
    return lambda question, name: name != "openat2" and is_quiet(question, name)
