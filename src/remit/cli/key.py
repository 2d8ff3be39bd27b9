"""Print the public key that this user's evidence is signed with, as PEM; the key is made if there is none yet.

Keep it where the evidence does not lie: who verifies with it need not believe the evidence's own word.

example:
  remit key > notary.pub.pem
"""

from __future__ import annotations

import argparse
import json

from remit.evidence.keys import load_private_key, public_pem, raw_public_key, read_or_make_key
from remit.evidence.places import notary_key_place
from remit.kernel import process


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it as JSON, with the name it has in checkpoints")


def run(options: argparse.Namespace) -> int:
    # The private key is in this process's memory for a moment.
    process.set_dumpable(False)
    path = notary_key_place()
    key = load_private_key(read_or_make_key(path))
    if options.json:
        found = {"schema_version": 1, "key": raw_public_key(key).hex(), "pem": public_pem(key), "private": path}
        print(json.dumps(found, indent=2))
    else:
        print(public_pem(key), end="")
    return 0
