"""Talks to a running session over its control socket, as the same user and from outside."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from remit.errors import FrozenError, RemitError, StepError, UsageError
from remit.evidence.locate import find_evidence, sessions_root
from remit.evidence.places import name_of
from remit.protocol import Message, ProtocolError, Receiver, send

CONTROL_SOCKET = "control.sock"


class Client:
    """One connection to one session. Raises RemitError when the session is not running or refuses."""

    def __init__(self, name: str | None) -> None:
        self.evidence = _running() if name is None else find_evidence(name)
        try:
            self._socket = _connect(self.evidence)
        except OSError as problem:
            raise UsageError(
                f"the session is not running: {self.evidence.name}", hint=f"remit report {self.evidence}"
            ) from problem
        self._receiver = Receiver(self._socket)
        self._last = 0

    def ask(self, message: Message, descriptors: tuple[int, ...] = ()) -> Any:
        """Send one request and return its answer; news that arrive before it are kept out of the way."""
        self._last += 1
        number = self._last  # a signal handler may send in between
        try:
            send(self._socket, {**message, "request": number, "descriptors": len(descriptors)}, descriptors)
            while (reply := self._receiver.wait()) is not None:
                if reply.get("request") == number:
                    if "error" in reply:
                        raise self._refusal(reply)
                    return reply.get("ok")
        except (OSError, ProtocolError) as problem:
            raise RemitError(f"lost the session: {problem}") from problem
        raise RemitError("the session hung up", hint="only the session's own user, from outside it, may steer it")

    def hand_over(self) -> socket.socket:
        """The connection, for whoever goes on with it."""
        return self._socket

    def tell(self, message: Message) -> None:
        """Send a request whose answer nobody waits for."""
        self._last += 1
        try:
            send(self._socket, {**message, "request": self._last, "descriptors": 0})
        except OSError:
            pass  # whoever reads next finds the session gone

    def _refusal(self, reply: Message) -> RemitError:
        if reply.get("class") == "FrozenError":
            return FrozenError(reply["error"], hint=f"remit resume --session {name_of(self.evidence)}")
        if "class" in reply:
            return StepError(reply["error"], hint=reply["hint"])
        return RemitError(f"the session refused: {reply['error']}", hint=f"remit report {name_of(self.evidence)}")

    def wait_for_end(self, spawn: int) -> int | None:
        """The wait status of a program, or None when the session ended first."""
        try:
            while (news := self._receiver.wait()) is not None:
                if news.get("exited") == spawn:
                    return int(news["status"])
        except (OSError, ProtocolError):
            pass
        return None


def is_running(evidence: Path) -> bool:
    """Whether the supervisor of this session answers. The socket's name alone may be left of one that was killed."""
    try:
        _connect(evidence).close()
    except OSError:
        return False
    return True


def counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _running() -> Path:
    """The only running session of this user."""
    root = sessions_root()
    running = [path.parent for path in sorted(root.glob(f"*/{CONTROL_SOCKET}")) if is_running(path.parent)]
    if len(running) == 1:
        return running[0]
    if not running:
        raise UsageError("no session is running", hint="remit run -- COMMAND")
    names = " ".join(path.name for path in running)
    raise UsageError(f"more than one session is running: {names}", hint=f"--session {running[-1].name}")


def _connect(evidence: Path) -> socket.socket:
    """Raises OSError. The directory's descriptor keeps the address short: sun_path holds 108 bytes."""
    holder = os.open(evidence, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{holder}/{CONTROL_SOCKET}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(holder)
    return connection
