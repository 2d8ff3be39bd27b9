"""The notary: it alone holds the signing key, and all it does is sign how far the evidence has come.

It reads no evidence. Each line it is given names a number of records and the hash of the last; each line it gives back
is a signed checkpoint.
"""

from __future__ import annotations

import os
import re

from remit.evidence.checkpoint import checkpoint_members, signed_text
from remit.evidence.keys import load_private_key, raw_public_key

_REQUEST = re.compile(rb"([1-9][0-9]{0,18}) ([0-9a-f]{64})")


def serve(pem: bytes, requests: int, answers: int) -> None:
    """Sign until nobody asks any more. Raises EvidenceError when the key is none, and ValueError on rubbish."""
    private = load_private_key(pem)
    public = raw_public_key(private)
    rest = b""
    while chunk := os.read(requests, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            match = _REQUEST.fullmatch(line)
            if match is None:
                raise ValueError("asked for something that is not a checkpoint")
            records, head = int(match[1]), match[2].decode("ascii")
            signature = private.sign(signed_text(records, head))
            _send(answers, checkpoint_members(records, head, public, signature))


def _send(answers: int, message: bytes) -> None:
    # Shorter than PIPE_BUF, so it is written whole (pipe(7)).
    try:
        os.write(answers, message + b"\n")
    except BrokenPipeError:
        pass  # the supervisor is gone, and the end of its requests comes next
