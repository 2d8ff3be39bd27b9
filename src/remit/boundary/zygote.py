"""The zygote is the first process inside the boundary and the parent of every program the agent is given.

All programs of a session are its children, so that they share one Landlock domain (a later step may signal what an
earlier one left running) and one seccomp listener. It does nothing but fork, exec and report. It stays in the caller's
terminal session, so that job control works for what it starts, and ignores the terminal's signals itself.
"""

from __future__ import annotations

import _thread
import errno
import gc
import json
import os
import select
import signal
import socket
import stat
from collections.abc import Mapping
from typing import Any

from remit.attempts import quick
from remit.attempts.attempt import Outside
from remit.boundary import apply, deputy
from remit.boundary.mask_mounts import Cover
from remit.errors import BoundaryError
from remit.kernel import process
from remit.plan import Plan, widest
from remit.protocol import Message, Receiver, send

# The terminal's, and whatever a program sends to its whole process group (`kill 0`), which the zygote is in.
_IGNORED_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
_EXEC_FORMAT_STATUS = 126
_NOT_FOUND_STATUS = 127
_SHELL = "/bin/sh"


def run(
    plan: Plan,
    temporary_directory: str,
    channel: socket.socket,
    deputy_channel: socket.socket,
    dispositions: Mapping[int, Any],
    covers: tuple[Cover, ...] = (),
) -> None:
    """Put up the walls, fork the deputy between the layers, hand over the listener, then serve. Never returns.

    The first message on `channel` is {ready, deputy, killable, attempts} with the listener, and the namespaces where
    there are covers, or {failed, hint}.
    """
    supervisor = os.getppid()
    gc.freeze()  # what was imported is never garbage
    gc.enable()
    try:
        for number in _IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        apply.make_expendable()
        most = widest(plan)
        own = apply.mount_walls(most, temporary_directory, covers) or ()
        process.set_dumpable(False)
        process.die_with_parent(signal.SIGKILL, supervisor)
        process.set_name("remit-zygote")
        process.close_other_descriptors({channel.fileno(), deputy_channel.fileno(), *own})
        apply.drop_privileges()
        apply.restrict_deputy_layer(most, temporary_directory)
        deputy_pid = os.fork()
        if deputy_pid == 0:
            for descriptor in own:
                os.close(descriptor)
            _become_deputy(channel, deputy_channel)
        deputy_channel.close()
        apply.restrict_agent_layer(most, temporary_directory)
        layers = apply.phase_layers(plan, temporary_directory)
        tried = quick.try_before_filter()
        children = _ChildSignal()
        apply.set_limits(plan)
        # Put up in one thread, for the filter may ask about handing over descriptors, and nobody has its listener yet.
        handing_over = _HandOver(channel)
        listener, killable = apply.install_filter(plan)
    except BoundaryError as problem:
        send(channel, {"failed": problem.message, "hint": problem.hint})
        os._exit(1)
    except Exception as problem:
        send(channel, {"failed": f"cannot set up the boundary: {problem}", "hint": None})
        os._exit(1)
    handed = (listener, *own)
    ready = {"ready": True, "deputy": deputy_pid, "killable": killable, "attempts": tried}
    handing_over.send(ready, handed)
    for descriptor in handed:
        os.close(descriptor)
    try:
        _serve(channel, children, dispositions, temporary_directory, layers, _refused_streams(plan, covers))
    finally:
        os._exit(0)


class _HandOver:
    """A thread that is beneath every wall but the filter, which holds the thread that installs it. Sends once."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._message: tuple[Message, tuple[int, ...]] | None = None
        # Two locks, each let go of once; `threading` would take longer to import than the rest of this to run.
        self._ready, self._sent = _thread.allocate_lock(), _thread.allocate_lock()
        self._ready.acquire()
        self._sent.acquire()
        _thread.start_new_thread(self._run, ())

    def send(self, message: Message, descriptors: tuple[int, ...]) -> None:
        self._message = ({**message, "descriptors": len(descriptors)}, descriptors)
        self._ready.release()
        self._sent.acquire()

    def _run(self) -> None:
        self._ready.acquire()
        try:
            if self._message is not None:
                send(self._channel, *self._message)
        finally:
            self._sent.release()


def _become_deputy(channel: socket.socket, deputy_channel: socket.socket) -> None:
    parent = os.getppid()
    channel.close()
    process.die_with_parent(signal.SIGKILL, parent)
    process.set_name("remit-deputy")
    # Its standard streams are the agent's; it must neither hold a terminal nor keep a pipe's reader waiting.
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    deputy.serve(deputy_channel)
    os._exit(0)


class _ChildSignal:
    """Turns SIGCHLD into something that poll can wait for."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._reader

    def clear(self) -> None:
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            pass


def _serve(
    channel: socket.socket,
    children: _ChildSignal,
    dispositions: Mapping[int, Any],
    temporary_directory: str,
    layers: Mapping[str | None, int],
    refused: Mapping[int, str],
) -> None:
    receiver = Receiver(channel)
    spawns: dict[int, int] = {}
    poller = select.poll()
    poller.register(channel, select.POLLIN)
    poller.register(children, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if children.fileno() in ready:
            children.clear()
            _reap(channel, spawns)
        if channel.fileno() in ready:
            if not receiver.read():
                return
            while (request := receiver.next()) is not None:
                if "attempts" in request:
                    _attempt(channel, request, temporary_directory)
                    continue
                streams = receiver.take_descriptors(int(request["descriptors"]))
                _spawn(channel, request, streams, spawns, dispositions, layers, refused)


def _attempt(channel: socket.socket, request: Message, temporary_directory: str) -> None:
    """Have a child make the quick attempts, once the supervisor has been told its pid; pass on what it says."""
    gate, opener = os.pipe2(os.O_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(opener)
            os.read(gate, 1)
            # The supervisor must be able to read what is asked. No program of the agent's is there yet that could, too.
            process.set_dumpable(True)
            outside = Outside(**request["outside"])
            os.write(writer, json.dumps(quick.try_inside(request["attempts"], outside, temporary_directory)).encode())
            os.close(writer)  # said before this process is taken apart
        finally:
            os._exit(0)
    os.close(writer)
    send(channel, {"attempting": pid})
    os.write(opener, b"\n")
    said = b""
    while piece := os.read(reader, 65536):
        said += piece
    send(channel, {"attempted": json.loads(said) if said else []})
    os.waitpid(pid, 0)
    for number in (gate, opener, reader):
        os.close(number)


def _spawn(
    channel: socket.socket,
    request: Message,
    streams: tuple[int, ...],
    spawns: dict[int, int],
    dispositions: Mapping[int, Any],
    layers: Mapping[str | None, int],
    refused: Mapping[int, str],
) -> None:
    """Fork one program. It waits for a byte until the supervisor has been told its pid, so that its first question
    never comes from a stranger."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = _fork()
    except OSError as problem:
        pid = -1
        send(channel, {"refused": request["id"], "errno": problem.errno})
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        _execute(request, streams, dispositions, layers, refused)
    os.close(reader)
    if pid > 0:
        spawns[pid] = request["id"]
        send(channel, {"spawned": request["id"], "pid": pid})
        os.write(writer, b"\n")
    os.close(writer)
    for number in streams:
        os.close(number)


def _fork() -> int:
    """fork(2) is a question; until the supervisor has received it, SIGCHLD interrupts it (seccomp_unotify(2))."""
    while True:
        try:
            return os.fork()
        except InterruptedError:
            continue


def _execute(
    request: Message,
    streams: tuple[int, ...],
    dispositions: Mapping[int, Any],
    layers: Mapping[str | None, int],
    refused: Mapping[int, str],
) -> None:
    """Become the program; exit as a shell does, 126 or 127, when that fails. Never returns.

    Until the exec this process holds a copy of the caller's memory, credentials of its environment included. So it
    stays non-dumpable, which keeps the agent's other processes from reading it, and the supervisor too.
    """
    status = _EXEC_FORMAT_STATUS
    name = request["arguments"][0]
    try:
        signal.set_wakeup_fd(-1)
        if request["new_session"]:
            os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        _check_streams(refused)
        os.chdir(request["directory"])
        if layers:
            apply.restrict_to_phase(layers[request["phase"]])
        for number, disposition in dispositions.items():
            signal.signal(number, disposition)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        program = _find_program(name, request["environment"].get("PATH", os.defpath))
        if program is None:
            raise _NotFoundError("not found")
        _become(program, request["arguments"], request["environment"])
    except _NotFoundError as problem:
        status = _NOT_FOUND_STATUS
        os.write(2, os.fsencode(f"remit: cannot run {name}: {problem}\n"))
    except OSError as problem:
        where = f" in {problem.filename}" if problem.filename == request["directory"] else ""
        os.write(2, os.fsencode(f"remit: cannot run {name}{where}: {problem.strerror or problem}\n"))
    except Exception as problem:
        os.write(2, os.fsencode(f"remit: cannot run {name}: {problem}\n"))
    finally:
        os._exit(status)


class _NotFoundError(Exception):
    """There is no such program, or not what runs it."""


def _become(program: str, arguments: list[str], environment: Mapping[str, str]) -> None:
    """As execvp(3): a text without `#!` is the shell's. Returns only by raising OSError or _NotFoundError."""
    try:
        os.execve(program, arguments, environment)
    except FileNotFoundError:
        # The program was found, so it is the one that its first line names, or a loader.
        raise _NotFoundError("its interpreter is not there") from None
    except OSError as problem:
        if problem.errno != errno.ENOEXEC:
            raise
    os.execve(_SHELL, [_SHELL, program, *arguments[1:]], environment)


def _refused_streams(plan: Plan, covers: tuple[Cover, ...]) -> dict[int, str]:
    """The kinds of file that no standard stream may be where mounts are a wall: it was opened outside of them."""
    if plan.view:
        # Opened anew by its /proc/self/fd it has all the rights that the user has.
        again = "was opened outside the session's view, where it could be opened again for more: put `cat` between"
        return {stat.S_IFDIR: again, stat.S_IFREG: again, stat.S_IFBLK: again}
    return {stat.S_IFDIR: "is a directory, which leads beneath the session's masks"} if covers else {}


def _check_streams(refused: Mapping[int, str]) -> None:
    for number in (0, 1, 2) if refused else ():
        try:
            reason = refused.get(stat.S_IFMT(os.fstat(number).st_mode))
        except OSError:
            continue  # closed
        if reason is not None:
            raise RuntimeError(f"descriptor {number} {reason}")


def _find_program(name: str, path: str) -> str | None:
    if "/" in name:
        return name if os.path.exists(name) else None
    for directory in path.split(os.pathsep):
        candidate = os.path.join(directory or ".", name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def _reap(channel: socket.socket, spawns: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in spawns:
            send(channel, {"exited": spawns.pop(pid), "status": status})
        else:
            # The deputy: without it nothing can act for the agent, and the supervisor ends the session.
            send(channel, {"lost": "deputy", "status": status})
