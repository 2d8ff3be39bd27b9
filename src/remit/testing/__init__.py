"""Public test harness: build evidence in a few readable lines and say what must follow from it."""

from remit.testing.playbook import Playbook

__all__ = ["Playbook"]
