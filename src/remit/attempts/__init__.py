"""Attempts: forbidden acts that remit itself tries from inside a real boundary, to prove its walls."""
