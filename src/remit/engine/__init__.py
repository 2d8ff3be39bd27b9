"""Decode, attribute, detect, judge: pure functions of the evidence, run without privilege."""

from remit.engine.engine import Engine

__all__ = ["Engine"]
