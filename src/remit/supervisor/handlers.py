"""Which code answers which system call; a call that is not here is refused and recorded."""

from __future__ import annotations

from remit.supervisor import answer_calls, answer_files
from remit.supervisor.answer_network import NetworkAnswers
from remit.supervisor.answer_sends import SendAnswers
from remit.supervisor.images import ExecStops


def handlers(network: NetworkAnswers, sends: SendAnswers, stops: ExecStops) -> dict[str, answer_calls.Handler]:
    """The answerers by system call name."""
    return {
        **answer_calls.HANDLERS,
        **dict.fromkeys(("execve", "execveat"), stops.begin),
        **dict.fromkeys(("open", "openat", "openat2", "creat"), answer_files.open_for_writing),
        **dict.fromkeys(("socket", "socketpair"), network.make_socket),
        **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), sends.send),
        "connect": network.connect,
        "bind": network.bind,
        "listen": network.listen,
    }
