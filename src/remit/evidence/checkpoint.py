"""A checkpoint says how far the evidence has come, signed: so many records, and this is the hash of the last of them.

What is signed, and how it stands in a record, is `docs/records.md`; notary and verifier share this module.
"""

from __future__ import annotations

import json


def signed_text(records: int, head: str) -> bytes:
    """The bytes that the signature covers. The head covers every record before it, the session's header included."""
    return f"remit checkpoint 1\n{records}\n{head}\n".encode("ascii")


def checkpoint_members(records: int, head: str, key: bytes, signature: bytes) -> bytes:
    """The members of a checkpoint's record, as `encode_verbatim` takes them."""
    checkpoint = {"records": records, "head": head, "key": key.hex(), "signature": signature.hex()}
    return json.dumps({"checkpoint": checkpoint}, separators=(",", ":")).encode("ascii")
