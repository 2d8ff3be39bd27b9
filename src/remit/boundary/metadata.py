"""What the deputy does to a file's mode, owner, times and attributes: on a file that it has opened, so on no other.

The supervisor has judged the path, or hands over the file itself. Links that were put into the path since are refused.
"""

from __future__ import annotations

import os

from remit.kernel import paths
from remit.kernel.libc import libc_call
from remit.protocol import Message

_AT_FDCWD = -100


def change_metadata(request: Message, given: int | None) -> Message:
    """One change: {change, path, follow, …}, on `given` or else on what the path names. Raises OSError."""
    if given is not None:
        return _change(given, request)
    file = paths.open_path(request["path"], None, no_follow=not request["follow"], resolve=paths.RESOLVE_NO_SYMLINKS)
    try:
        return _change(file, request)
    finally:
        os.close(file)


def _change(file: int, request: Message) -> Message:
    # Of a descriptor that only names a file (O_PATH), this is the file, and the link itself if it is one (proc(5)).
    place = f"/proc/self/fd/{file}"
    match request["change"]:
        case "chmod":
            os.chmod(place, request["mode"])
        case "chown":
            os.chown(place, *request["owner"])
        case "utime":
            times = request["times"]
            raw = None if times is None else bytes.fromhex(times)
            libc_call("utimensat", _AT_FDCWD, place.encode("ascii"), raw, 0, what="utimensat")
        case "setxattr":
            name = bytes.fromhex(request["name"])
            if request["value"] is None:
                os.removexattr(place, name)
            else:
                os.setxattr(place, name, bytes.fromhex(request["value"]), request["flags"])
    return {"errno": 0}
