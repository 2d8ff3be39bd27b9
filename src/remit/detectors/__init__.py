"""One behaviour in each file; this is the one list of those that are built in."""

from __future__ import annotations

from remit.detectors.context import Context, Detector
from remit.detectors.credential_access import CredentialAccess
from remit.detectors.crypto_mining import CryptoMining
from remit.detectors.gpu_diversion import GpuDiversion
from remit.detectors.reverse_tunnel import ReverseTunnel
from remit.detectors.say_do_mismatch import SayDoMismatch
from remit.detectors.tool_annotations import ToolAnnotations
from remit.detectors.tool_changed import ToolChanged
from remit.events import Session

__all__ = ["Context", "Detector", "build_detectors"]


def build_detectors(session: Session) -> tuple[Detector, ...]:
    """Fresh detectors for one session, in the order in which they are asked."""
    return (
        ReverseTunnel(),
        CryptoMining(),
        GpuDiversion(session),
        CredentialAccess(session),
        SayDoMismatch(session),
        ToolAnnotations(session),
        ToolChanged(session),
    )
