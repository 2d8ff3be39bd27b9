"""Digests from Python's own code: hashlib asks OpenSSL, and to load that takes 3 ms of every start.

Later it must not be loaded at all: once the agent runs, it may have put a library where the linker looks.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def _find(function: str, *modules: str) -> Any:
    for name in modules:
        try:
            return getattr(importlib.import_module(name), function)
        except ImportError:
            continue
    raise ImportError(f"this Python has no {function}")


# Where they are in 3.12 and newer, in 3.11, and in a Python built without its own.
_sha256 = _find("sha256", *(("_sha2", "_sha256") if sys.version_info >= (3, 12) else ("_sha256",)), "hashlib")
_blake2b = _find("blake2b", "_blake2", "hashlib")


def sha256(data: bytes) -> str:
    """The digest in hexadecimal; takes 1.6 us more than OpenSSL's for a record."""
    digest: str = _sha256(data).hexdigest()
    return digest


def keyed(data: bytes, key: bytes, size: int) -> str:
    """The keyed BLAKE2b digest of `size` bytes in hexadecimal."""
    digest: str = _blake2b(data, key=key, digest_size=size).hexdigest()
    return digest
