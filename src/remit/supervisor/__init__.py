"""The process that holds privilege: it answers questions, keeps the lineage, and alone writes evidence.

Standard library and remit.kernel only; one thread. Nothing here interprets what it records.
"""
