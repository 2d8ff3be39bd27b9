"""The doctor: what this machine can enforce and observe, and proof that each wall holds here."""
