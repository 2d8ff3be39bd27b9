"""Outsiders for the attempts to reach, each of which says afterwards whether it was reached."""

from __future__ import annotations

import contextlib
import glob
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from remit.attempts.attempt import Outside
from remit.kernel import raw

VARIABLE = "REMIT_DOCTOR_CREDENTIAL"
SECRET = b"correct-horse-battery-staple"
_SET_USER_ID = ("su", "passwd", "mount", "newgrp", "gpasswd", "chsh")
# Readable by anybody on many machines, and no program needs them.
_READABLE_DEVICES = ("/dev/autofs", "/dev/kmsg", "/dev/rfkill", "/dev/net/tun", "/dev/fuse", "/dev/cuse", "/dev/kvm")
_NEEDED = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
_REMOVE = 0  # IPC_RMID

Watch = tuple[str, Callable[[], bool]]


class Outsiders:
    """Use as a context manager. `outside` describes them; `changes` says what became of them since the last time."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.readable_tree = place / "readable"
        self._stack = contextlib.ExitStack()
        self._watches: list[Watch] = []
        self.readable_device = _find_readable_device()

    def __enter__(self) -> Outsiders:
        with contextlib.ExitStack() as stack:
            self.outside = self._set_up(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def changes(self) -> list[str]:
        """What changed, put right again."""
        return [what for what, happened in self._watches if happened()]

    def _set_up(self, stack: contextlib.ExitStack) -> Outside:
        directory = self._make_tree()
        tcp4 = self._listen(stack, socket.AF_INET, ("127.0.0.1", 0), "a TCP listener was reached")
        abstract = f"remit-doctor-{os.getpid()}"
        self._hand_out(stack, "\0" + abstract)
        self._listen(stack, socket.AF_UNIX, f"{directory}/stream.sock", "a unix socket was reached")
        self._datagram(stack, socket.AF_UNIX, f"{directory}/datagram.sock")
        udp = self._datagram(stack, socket.AF_INET, ("127.0.0.1", 0))
        neighbour = stack.enter_context(_process())
        terminal, typist = _terminal(stack)
        self._watch_process(neighbour.pid)
        self._watches.append(("the tree outside was changed", self._tree_watch(directory)))
        return Outside(
            directory=str(directory),
            tcp4=tcp4.getsockname()[1],
            tcp6=self._tcp6(stack),
            udp=udp.getsockname()[1],
            free_port=_free_port(),
            terminal=terminal,
            typist=typist,
            memory_file=_memory_file(stack),
            secret=str(self._in_workspace("secrets/deep/key")),
            protected=str(self._in_workspace("settings/deep/hook")),
            variable=VARIABLE,
            readable_program=self._readable_program(),
            abstract=abstract,
            neighbour=neighbour.pid,
            shared_memory=_system_v(stack, "shmget", (0, 4096, 0o1600), "shmctl"),
            messages=_system_v(stack, "msgget", (0, 0o1600), "msgctl"),
            semaphores=_system_v(stack, "semget", (0, 1, 0o1600), "semctl"),
            device=_find_device(self.readable_device),
            readable_device=self.readable_device,
            set_user_id=_find_set_user_id(),
        )

    def _in_workspace(self, name: str) -> Path:
        """A file that the scope takes back from the workspace it lies in."""
        path = self._place / "workspace" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(SECRET)
        return path

    def _readable_program(self) -> str:
        """In a tree that the scope grants for reading."""
        self.readable_tree.mkdir()
        shutil.copy("/bin/true", self.readable_tree / "true")
        return str(self.readable_tree / "true")

    def _make_tree(self) -> Path:
        directory = self._place / "outside"
        (directory / "empty").mkdir(parents=True)
        (directory / "file").write_bytes(SECRET)
        shutil.copy("/bin/true", directory / "true")
        return directory

    def _tree_watch(self, directory: Path) -> Callable[[], bool]:
        file = directory / "file"
        names = {"file", "empty", "true", "stream.sock", "datagram.sock"}

        def changed() -> bool:
            found = set(os.listdir(directory))
            whole = found == names and file.read_bytes() == SECRET
            if not whole:
                for name in found - names:
                    _remove(directory / name)
                (directory / "empty").mkdir(exist_ok=True)
                file.write_bytes(SECRET)
            return not whole

        return changed

    def _listen(
        self, stack: contextlib.ExitStack, family: int, address: str | tuple[str, int], reached: str
    ) -> socket.socket:
        listener = stack.enter_context(socket.socket(family))
        listener.bind(address)
        listener.listen(64)
        listener.setblocking(False)

        def accepted() -> bool:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        self._watches.append((reached, accepted))
        return listener

    def _tcp6(self, stack: contextlib.ExitStack) -> int:
        try:
            listener = self._listen(stack, socket.AF_INET6, ("::1", 0), "a TCP listener over IPv6 was reached")
        except OSError:
            return 0
        port: int = listener.getsockname()[1]
        return port

    def _datagram(self, stack: contextlib.ExitStack, family: int, address: str | tuple[str, int]) -> socket.socket:
        receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        receiver.bind(address)
        receiver.setblocking(False)

        def received() -> bool:
            try:
                receiver.recv(64)
            except BlockingIOError:
                return False
            return True

        self._watches.append(("a datagram arrived", received))
        return receiver

    def _hand_out(self, stack: contextlib.ExitStack, address: str) -> None:
        """A listener that hands a datagram socket to whoever connects, as a careless service might."""
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(address)
        listener.listen(64)
        reached = threading.Event()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                reached.set()
                with peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gift, contextlib.suppress(OSError):
                    socket.send_fds(peer, [b"x"], [gift.fileno()])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def stop() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)

        stack.callback(stop)

        def was_reached() -> bool:
            happened = reached.is_set()
            reached.clear()
            return happened

        self._watches.append(("an abstract socket was reached", was_reached))

    def _watch_process(self, pid: int) -> None:
        def state() -> tuple[object, ...]:
            return (
                os.sched_getaffinity(pid),
                os.getpriority(os.PRIO_PROCESS, pid),
                os.sched_getscheduler(pid),
                resource.prlimit(pid, resource.RLIMIT_CORE),
                _tracer(pid),
            )

        seen = [state()]

        def changed() -> bool:
            now = state()
            happened = now != seen[0]
            seen[0] = now
            return happened

        self._watches.append(("the neighbour was changed", changed))


@contextlib.contextmanager
def _process(command: Sequence[str] = ("/bin/cat",)) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this user that waits until it is told to go, and in which real-time signals wait too."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={"TOKEN": "x"}, start_new_session=True
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    with child:
        yield child
        child.kill()


def _terminal(stack: contextlib.ExitStack) -> tuple[str, int]:
    """A terminal in which somebody types all the time, and the process in front of it."""
    leader, terminal = os.openpty()
    stack.callback(os.close, leader)
    stack.callback(os.close, terminal)
    tty.setraw(terminal)
    name = os.ttyname(terminal)
    # The first in a session to open a terminal that is nobody's has it from then on.
    reader = stack.enter_context(_process(["/bin/sh", "-c", f"exec /bin/cat < {name}"]))
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.05):
            os.write(leader, b"x")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(over.set)
    return name, reader.pid


def _tracer(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return next(line for line in lines if line.startswith("TracerPid:"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def _memory_file(stack: contextlib.ExitStack) -> str:
    """Shared memory of an outsider's, as shm_open(3) makes it."""
    path = f"/dev/shm/remit-doctor-{os.getpid()}"
    try:
        Path(path).write_bytes(SECRET)
    except OSError:
        return ""
    stack.callback(os.unlink, path)
    return path


def _free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port: int = end.getsockname()[1]
        return port


def _system_v(stack: contextlib.ExitStack, make: str, arguments: tuple[int, ...], control: str) -> int:
    try:
        found = raw.call(make, *arguments)
    except OSError:
        return -1
    # semctl has the semaphore's number before its command.
    stack.callback(raw.call, control, found, *((0,) if control == "semctl" else ()), _REMOVE, 0)
    return found


def _find_set_user_id() -> str:
    for name in _SET_USER_ID:
        path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        if path is not None and os.stat(path).st_mode & stat.S_ISUID and os.stat(path).st_uid == 0:
            return os.path.realpath(path)
    return ""


def _find_readable_device() -> str:
    return next((path for path in _READABLE_DEVICES if os.access(path, os.R_OK)), "")


def _find_device(but: str) -> str:
    """A device node that this user could open if no wall stood before it."""
    for path in sorted(glob.glob("/dev/*")):
        if os.path.basename(path) in _NEEDED or path == but:
            continue
        with contextlib.suppress(OSError):
            mode = os.stat(path).st_mode
            if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and os.access(path, os.R_OK):
                return path
    return ""
