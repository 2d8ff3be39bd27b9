"""The names of the attempts that are made at every start; what makes and judges them takes longer to load."""

from __future__ import annotations

CHOSEN = (
    *("tcp-v4", "fast-open-sendmsg", "listen-without-bind", "udp", "mptcp", "datagram-pair"),
    *("unix-abstract", "control-connect", "evidence-write", "evidence-add", "evidence-mode"),
    *("signal-supervisor", "trace-supervisor", "look-into-supervisor"),
    *("capabilities", "another-user", "raise-limit"),
    *("io-uring-setup", "call-bpf", "call-userfaultfd", "second-listener"),
)
# What a grant could allow is not walled while observing.
OBSERVING = tuple(name for name in CHOSEN if name not in ("tcp-v4", "listen-without-bind"))
