"""The two proofs anyone can repeat on the evidence: the hash chain is whole, and replay finds the same again."""

from __future__ import annotations

from pathlib import Path

from remit.demo.checks import Check
from remit.engine.replay import replay
from remit.evidence.chain import verify


def proofs(evidence: Path, name: str) -> list[Check]:
    """What `remit verify` and `remit replay` say about one session's evidence."""
    chain = verify(evidence)
    again = replay(evidence)
    damage = chain.damage.problem if chain.damage else "no record is missing or changed"
    return [
        Check(f"evidence verifies: {name}", chain.whole and chain.closed, f"{chain.records} records; {damage}"),
        Check(
            f"replay agrees: {name}",
            again.identical and again.closed,
            f"{len(again.recorded)} findings and verdicts recorded, {len(again.recomputed)} recomputed",
        ),
    ]
