"""Every attempt there is, in the order in which the doctor makes them."""

from __future__ import annotations

from remit.attempts import (
    calls,
    files,
    images,
    metadata,
    neighbours,
    network,
    owners,
    privileges,
    processes,
    remit_itself,
    shared,
    sockets,
)
from remit.attempts.attempt import Attempt

ATTEMPTS: tuple[Attempt, ...] = (
    *network.ATTEMPTS,
    *sockets.ATTEMPTS,
    *files.ATTEMPTS,
    *metadata.ATTEMPTS,
    *shared.ATTEMPTS,
    *images.ATTEMPTS,
    *privileges.ATTEMPTS,
    *processes.ATTEMPTS,
    *calls.ATTEMPTS,
    *neighbours.ATTEMPTS,
    *owners.ATTEMPTS,
    *remit_itself.ATTEMPTS,
)
BY_NAME: dict[str, Attempt] = {attempt.name: attempt for attempt in ATTEMPTS}
