"""remit: what an agent's task was approved to do, enforced by the kernel and proved by evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from remit.clock.asynchronous import AsyncSession
    from remit.clock.sdk import Session
    from remit.session import SessionEnded, SessionResult

__all__ = ["AsyncSession", "Session", "SessionEnded", "SessionResult", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, because `remit run` imports this package on its way to the agent's first instruction.
    if name == "Session":
        from remit.clock.sdk import Session

        return Session
    if name == "AsyncSession":
        from remit.clock.asynchronous import AsyncSession

        return AsyncSession
    if name in ("SessionEnded", "SessionResult"):
        from remit import session

        return getattr(session, name)
    raise AttributeError(f"module 'remit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
