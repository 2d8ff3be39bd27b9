"""The deputy does for the agent what the supervisor has judged, under the agent's own scope and with nothing more.

It connects, binds, listens, sends, cuts, makes sockets and changes metadata. It is a process beneath Landlock layer one
with the agent's uid, and it acts on what the supervisor copied, so nothing the agent changes meanwhile matters.
Connects run in workers, because any of them may block for minutes: at most WORKERS_MAX, then EAGAIN. Path-named sockets
are opened once and connected to through the opened descriptor, so that the socket that was judged is what is reached.
"""

from __future__ import annotations

import _thread
import errno
import os
import socket
import stat
import struct

from remit.boundary.metadata import change_metadata
from remit.boundary.own_ports import connect_own
from remit.boundary.own_sockets import OwnSockets
from remit.boundary.sends import send_messages
from remit.boundary.truncates import truncate
from remit.kernel.closing import close_promptly, cut_short, prepare
from remit.kernel.libc import socket_call
from remit.kernel.paths import is_inside, is_mounted_here, path_of
from remit.kernel.seccomp import add_descriptor
from remit.protocol import Message, ProtocolError, Receiver, send

WORKERS_MAX = 16
GIVERS_MAX = 64  # besides these, for who is slow to take a socket that was made
_UNIX_FAMILY = struct.pack("=H", socket.AF_UNIX)


def serve(channel: socket.socket) -> None:
    """Answer the supervisor's requests until it hangs up.

    A request is {id, do: connect | bind | listen | send | truncate | metadata | make | cancel, …}, most with a
    struct sockaddr in hex (`address`) and the socket, and for path-named addresses the agent's directory, as
    descriptors; for `own` ports, so many tables of sockets and then listeners to hold meanwhile. A request to `make` a
    socket names family, kind, protocol and the question, and has the listener as its descriptor; a duplicate of the
    socket comes with the reply, and the number that it has with the agent. The reply is {id, errno, …}.
    """
    prepare()
    deputy = _Deputy(channel)
    receiver = Receiver(channel)
    try:
        while (request := receiver.wait()) is not None:
            descriptors = receiver.take_descriptors(int(request.get("descriptors", 0)))
            deputy.handle(request, descriptors)
    except (ProtocolError, OSError):
        return  # without the supervisor there is nobody to act for


class _Deputy:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = _thread.allocate_lock()  # `threading` takes long to load, for no more than this
        self._working: dict[int, socket.socket] = {}
        self._sending: set[int] = set()
        self._giving: set[int] = set()  # sockets whose new owner is slow to take them
        self._cancelled: set[int] = set()  # sends whose caller has died
        self._own = OwnSockets()

    def handle(self, request: Message, descriptors: tuple[int, ...]) -> None:
        number, operation = int(request["id"]), request["do"]
        if operation == "metadata":
            self._reply(number, _change_metadata(request, descriptors))
            return
        if operation == "cancel":
            self._cancel(number)
            return
        if operation == "make":
            self._make(number, descriptors[0], request)
            return
        if operation == "truncate":
            self._reply(number, truncate(request))
            return
        more = descriptors[1:]
        directory = more[0] if "path" in request else None
        try:
            connection = socket.socket(fileno=descriptors[0])
        except OSError as problem:  # the agent named a descriptor that is no socket
            for descriptor in descriptors:
                os.close(descriptor)
            self._reply(number, {"errno": problem.errno or errno.EIO})
            return
        if operation in ("connect", "send"):
            self._start(number, connection, more, request)
            return
        try:
            if operation == "bind":
                outcome = self._bind(connection, directory, request)
            else:
                outcome = _listen(connection, request)
        except OSError as problem:
            outcome = {"errno": problem.errno or errno.EIO}
        close_promptly(connection.detach())
        _close(more)
        self._reply(number, outcome)

    def _make(self, number: int, listener: int, request: Message) -> None:
        """Make a socket for the agent, and give it to the thread that asks; a worker waits for one that is slow."""
        try:
            made = socket.socket(request["family"], request["kind"], request["protocol"])
        except OSError as problem:
            os.close(listener)
            self._reply(number, {"errno": problem.errno or errno.EIO})
            return
        if not self._giving:
            try:
                with cut_short():
                    outcome = _give(made, listener, request)
            except InterruptedError:
                pass
            else:
                os.close(listener)
                self._hand_over(number, made, outcome)
                return
        self._start(number, made, (listener,), request)

    def _hand_over(self, number: int, made: socket.socket, outcome: Message) -> None:
        with made:
            given = () if outcome["errno"] else (made.fileno(),)
            self._reply(number, {**outcome, "descriptors": len(given)}, given)

    def _bind(self, connection: socket.socket, directory: int | None, request: Message) -> Message:
        address = bytes.fromhex(request["address"])
        if "path" not in request:
            return {"errno": socket_call("bind", connection.fileno(), address)}
        parent, _, name = os.fsencode(request["path"]).rpartition(b"/")
        if request["path"].startswith("/"):
            parent = parent or b"/"
        # The directory is looked up once, and what follows is done beneath it, wherever the agent moves it meanwhile.
        place = os.open(parent or b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            if request.get("here") and not is_mounted_here(place):
                return {"errno": errno.EACCES}
            if "trees" in request and not any(is_inside(path_of(place), tree) for tree in request["trees"]):
                return {"errno": errno.EACCES}  # what the deputy may itself is what any phase may
            # Only this thread changes the directory or the umask; workers use neither.
            os.fchdir(place)
            os.umask(int(request["umask"]))
            # An empty name would have the kernel choose an abstract one.
            address = _UNIX_FAMILY + (name or b".") + b"\0"
            error = socket_call("bind", connection.fileno(), address)
            if error == 0:
                self._own.add(connection.fileno(), name, place)
        finally:
            os.close(place)
        return {"errno": error}

    def _start(self, number: int, connection: socket.socket, more: tuple[int, ...], request: Message) -> None:
        with self._lock:
            if request["do"] == "make":
                full = len(self._giving) >= GIVERS_MAX
            else:
                full = len(self._working) - len(self._giving) >= WORKERS_MAX
            if not full:
                self._working[number] = connection
                if request["do"] == "send":
                    self._sending.add(number)
                elif request["do"] == "make":
                    self._giving.add(number)
        if full:
            self._turn_away(number, connection, more)
            return
        try:
            _thread.start_new_thread(self._work, (number, connection, more, request))
        except RuntimeError:  # no more threads for this user
            with self._lock:
                self._forget(number)
            self._turn_away(number, connection, more)

    def _turn_away(self, number: int, connection: socket.socket, more: tuple[int, ...]) -> None:
        close_promptly(connection.detach())
        _close(more)
        self._reply(number, {"errno": errno.EAGAIN})

    def _work(self, number: int, connection: socket.socket, more: tuple[int, ...], request: Message) -> None:
        try:
            if request["do"] == "make":
                outcome = _give(connection, more[0], request, patient=True)
            elif request["do"] == "send":
                outcome = send_messages(connection, request, lambda: number not in self._cancelled)
            elif "path" in request:
                outcome = _connect_path(connection, more[0], request, self._own)
            elif "own" in request:
                tables, own = more[: request["own"]], frozenset(request["listeners"])
                error = connect_own(connection, bytes.fromhex(request["address"]), tables, own)
                outcome = {"errno": error, "refused": error == errno.EACCES}
            else:
                address = bytes.fromhex(request["address"])
                outcome = {"errno": socket_call("connect", connection.fileno(), address)}
        except OSError as problem:
            outcome = {"errno": problem.errno or errno.EIO}
        except Exception:  # whatever it was, the caller must not wait for ever, nor the worker be lost
            outcome = {"errno": errno.EIO, "refused": True}
        if request["do"] == "make":
            with self._lock:
                self._forget(number)
            _close(more)
            self._hand_over(number, connection, outcome)
            return
        # Closed before the answer: a duplicate kept here would delay the FIN of the agent's own close. It may linger if
        # the agent has closed its own; then this worker is not free before.
        connection.close()
        with self._lock:
            self._forget(number)
        _close(more)
        self._reply(number, outcome)

    def _forget(self, number: int) -> None:
        del self._working[number]
        for numbers in (self._sending, self._giving, self._cancelled):
            numbers.discard(number)

    def _cancel(self, number: int) -> None:
        """The caller died: break its connect off so that the worker is free again."""
        with self._lock:
            connection = self._working.get(number)
            if connection is not None and number in self._sending:
                self._cancelled.add(number)  # others may go on with this socket
            elif connection is not None:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # not connected yet, or already over

    def _reply(self, number: int, outcome: Message, descriptors: tuple[int, ...] = ()) -> None:
        with self._lock:
            send(self._channel, {"id": number, **outcome}, descriptors)


def _connect_path(connection: socket.socket, directory: int, request: Message, own: OwnSockets) -> Message:
    """Connect to a path-named socket if this session has bound it or the scope grants its path."""
    path = os.fsencode(request["path"])
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        if request.get("here") and not is_mounted_here(opened):
            # Reached by /proc/PID/root or the working directory of a program with mounts of its own, names say nothing.
            return {"errno": errno.EACCES, "refused": True}
        found = os.fstat(opened)
        if not stat.S_ISSOCK(found.st_mode):
            return {"errno": errno.ECONNREFUSED}
        resolved = os.readlink(f"/proc/self/fd/{opened}")
        claims = [found.st_dev, found.st_ino] == request.get("claims")
        uncovered = not claims and found not in own and resolved not in request["granted"]
        if uncovered and not _is_observed(resolved, request):
            return {"errno": errno.EACCES, "refused": True, "path": resolved}
        # By raw address, for the agent's socket may be of any family; the kernel then says that it does not fit.
        error = socket_call("connect", connection.fileno(), _UNIX_FAMILY + b"/proc/self/fd/%d\0" % opened)
        if error:
            return {"errno": error, "uncovered": uncovered}
        return {"errno": 0, "path": resolved, "uncovered": uncovered, "claims": claims}
    finally:
        os.close(opened)


def _change_metadata(request: Message, descriptors: tuple[int, ...]) -> Message:
    try:
        return change_metadata(request, descriptors[0] if descriptors else None)
    except OSError as problem:
        return {"errno": problem.errno or errno.EIO}
    except Exception:  # numbers that no call takes, for one
        return {"errno": errno.EINVAL}
    finally:
        _close(descriptors)


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _is_observed(path: str, request: Message) -> bool:
    """Whether the session only observes, and the socket is none of remit's own."""
    withheld = request.get("withheld")
    return withheld is not None and not any(path.startswith(place.rstrip("/") + "/") for place in withheld)


def _give(made: socket.socket, listener: int, request: Message, *, patient: bool = False) -> Message:
    """Raises InterruptedError after a moment, unless `patient`."""
    while True:
        try:
            close_on_exec = bool(request["kind"] & socket.SOCK_CLOEXEC)
            place = add_descriptor(listener, request["question"], made.fileno(), close_on_exec=close_on_exec)
            return {"errno": 0, "place": place}
        except InterruptedError:
            if not patient:
                raise
        except OSError as problem:
            return {"errno": problem.errno or errno.EIO}


def _listen(connection: socket.socket, request: Message) -> Message:
    connection.listen(int(request["backlog"]))
    return {"errno": 0}
