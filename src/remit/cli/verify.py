"""Check that evidence is what was written: every record covered by the hash chain, none missing, none changed.

Ends with 0 when the chain is whole and with 124 when it is not; the first bad record is named. A recording that was cut
off is whole but `not closed`. With --key, every record must also be covered by a checkpoint that this key has signed,
and with --head, the record whose hash was noted must still be there: otherwise 124, too. 2 when there is no such
evidence or key file.

examples:
  remit verify last
  remit verify last --key notary.pub.pem
  remit verify last --head 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from remit.errors import EXIT_EVIDENCE, EvidenceError, UsageError
from remit.evidence.chain import CheckSignature, Verification, verify
from remit.evidence.locate import find_evidence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("evidence", metavar="DIR", help="an evidence directory, a session id, or `last`")
    parser.add_argument("--key", metavar="FILE", type=Path, help="the signer's public key, as `remit key` prints it")
    parser.add_argument("--head", metavar="HASH", default="", help="a head that was noted elsewhere must be found")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Verify and say so; 0 or 124."""
    head = options.head.lower()
    if head and not re.fullmatch("[0-9a-f]{64}", head):
        raise UsageError(f"a head is 64 hexadecimal digits: {options.head}", hint="remit verify last prints it")
    check_signature = _check_signature(options.key)
    result = verify(find_evidence(options.evidence), check_signature=check_signature, noted_head=head)
    problems = _problems(result, pinned=options.key is not None, head=head)
    if options.json:
        print(json.dumps(_as_json(result, problems, pinned=options.key is not None), indent=2))
    else:
        print("\n".join(_as_text(result, problems, pinned=options.key is not None)))
    return EXIT_EVIDENCE if problems else 0


def _check_signature(key: Path | None) -> CheckSignature:
    try:
        from remit.evidence.keys import read_public_key
        from remit.evidence.signatures import Signatures
    except ImportError as problem:
        raise EvidenceError(
            f"cannot check signatures: {problem}", hint="pip install cryptography; or verify as docs/verify.md shows"
        ) from problem
    return Signatures(None if key is None else read_public_key(key)).problem


def _problems(result: Verification, *, pinned: bool, head: str) -> list[str]:
    """Why the answer is no."""
    damage = result.damage
    if damage:
        return [f"broken at {damage.segment} line {damage.line}, record {damage.n}: {damage.problem}"]
    found = []
    if head and result.noted is None:
        found.append("cut off or replaced: no record has the noted head")
    if pinned and result.signed == 0:
        found.append("not signed: no checkpoint vouches for any record")
    elif pinned and result.unsigned:
        found.append(f"not closed: the key vouches for the first {result.signed} of {result.records} records only")
    return found


def _as_json(result: Verification, problems: list[str], *, pinned: bool) -> dict[str, object]:
    damage = result.damage
    return {
        "schema_version": 1,
        "verified": not problems,
        "problems": problems,
        "whole": result.whole,
        "closed": result.closed,
        "torn": result.torn,
        "session": result.session,
        "records": result.records,
        "segments": result.segments,
        "head": result.head,
        "noted_head_at": result.noted,
        "signed": result.signed,
        "unsigned": result.unsigned,
        "signer": result.signer or None,
        "signer_known": pinned and result.signed > 0,
        "damage": damage and {"segment": damage.segment, "line": damage.line, "n": damage.n, "problem": damage.problem},
    }


def _as_text(result: Verification, problems: list[str], *, pinned: bool) -> list[str]:
    if result.damage:
        return [*problems, f"the {result.records} record(s) before it are whole"]
    closed = "closed" if result.closed else "not closed"
    lines = [*problems, f"whole, {closed}: {result.records} records, session {result.session}"]
    if result.torn:
        lines.append("the last line is torn, as a killed writer leaves it; it is not counted")
    if not result.closed:
        lines.append("it does not end with the closed record, so records after the last one may be missing")
    lines.append(_signed(result, pinned=pinned))
    if result.noted is not None:
        lines.append(f"the noted head is record {result.noted}")
    lines.append(f"head {result.head}")
    return lines


def _signed(result: Verification, *, pinned: bool) -> str:
    if not result.signed:
        return "not signed"
    reach = "" if not result.unsigned else f" up to record {result.signed}; {result.unsigned} after it are not"
    if pinned:
        return f"signed by this key{reach}"
    return f"consistent, signer unknown (--key pins it): {result.signer}{reach}"
