"""A program for the inside that tries to leave its cgroups, and to change what holds it there."""

from __future__ import annotations

# Every way that a process has out of its cgroup, or to change what it is held to. Prints what got through.
LEAVE = """\
import ctypes, glob, json, os, struct, sys
C = ctypes.CDLL(None, use_errno=True)
through, tried = [], 0
def attempt(name, act):
    global tried
    tried += 1
    try:
        act()
    except OSError as problem:
        return
    through.append(name)
def write(path, text):
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
def into(path):
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY)
    # struct clone_args with CLONE_INTO_CGROUP; wants no right to write anything that a path names.
    arguments = ctypes.create_string_buffer(struct.pack("11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, directory), 88)
    pid = C.syscall(435, arguments, 88)
    if pid == 0:
        os._exit(0)
    os.close(directory)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
directories = [path for pattern in json.loads(sys.argv[1]) for path in glob.glob(pattern)]
def namespaces():
    if C.unshare(0x12020000):  # of the user, of mounts and of cgroups
        raise OSError(ctypes.get_errno(), "unshare")
before = open("/proc/self/cgroup").read()
for own in directories:
    for place in (own, os.path.dirname(own)):
        for name in os.listdir(place) if place == own else ("cgroup.procs", "tasks"):
            path = f"{place}/{name}"
            if os.path.isfile(path):
                value = str(os.getpid()) if name in ("cgroup.procs", "tasks", "cgroup.threads") else "max"
                attempt(path, lambda: write(path, value))
                attempt(f"{path} -1", lambda: write(path, "-1"))
                attempt(f"chmod {path}", lambda: os.chmod(path, 0o666))
                attempt(f"chown {path}", lambda: os.chown(path, os.getuid(), os.getgid() or 1))
        attempt(f"mkdir in {place}", lambda: os.mkdir(f"{place}/inner"))
        attempt(f"clone into {place}", lambda: into(place))
    attempt(f"rename {own}", lambda: os.rename(own, own + "-moved"))
    attempt(f"rmdir {own}", lambda: os.rmdir(own))
for kind, options in (("cgroup2", None), ("cgroup", b"memory"), ("cgroup", b"pids")):
    def mount():
        if C.mount(b"none", b".", kind.encode(), 0, options):
            raise OSError(ctypes.get_errno(), "mount")
    attempt(f"mount {kind}", mount)
    attempt(f"mount {kind} in namespaces", lambda: (namespaces(), mount()))
print(json.dumps({"through": through, "tried": tried, "moved": open("/proc/self/cgroup").read() != before}))
"""
