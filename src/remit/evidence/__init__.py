"""The append-only, hash-chained record of a session: written, read, followed, verified."""
