"""Checks the signatures of checkpoints, against the key each one names and against the one the reader trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from remit.evidence.checkpoint import signed_text


class Signatures:
    """One session's signatures. `pinned` is the raw public key that alone is believed; None believes any one key."""

    def __init__(self, pinned: bytes | None) -> None:
        self._trusted = pinned.hex() if pinned else ""
        self._pinned = bool(pinned)

    def problem(self, checkpoint: Mapping[str, Any]) -> str | None:
        """What is wrong with a checkpoint's signature."""
        key = str(checkpoint["key"])
        if self._trusted and key != self._trusted:
            return f"signed by another key{'' if self._pinned else ' than the checkpoint before'}: {key}"
        try:
            signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
            signature = bytes.fromhex(str(checkpoint["signature"]))
            signer.verify(signature, signed_text(checkpoint["records"], checkpoint["head"]))
        except (ValueError, InvalidSignature):
            return "the checkpoint's signature does not fit"
        self._trusted = key
        return None
