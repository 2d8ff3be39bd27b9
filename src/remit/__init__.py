"""remit: what an agent's task was approved to do, enforced by the kernel and proved by evidence."""

__version__ = "0.1.0"
