"""Budgets from what was used: three times as much, rounded up to what a person would write."""

from __future__ import annotations

from remit.uses import Session

_MINUTE, _HOUR, _GIB = 60, 3600, 2**30
_TIMES = (
    *((minutes * _MINUTE, f"{minutes}m") for minutes in (1, 2, 5, 10, 20, 30)),
    *((hours * _HOUR, f"{hours}h") for hours in (1, 2, 4, 8, 12, 24, 48, 96)),
)
_ROOM = 3
_LEAST_PROCESSES, _LEAST_MEMORY, _LEAST_CPU, _LEAST_WALL = 64, 2, 5 * _MINUTE, 10 * _MINUTE


def budgets(session: Session) -> tuple[int, dict[str, str]]:
    """Processes at once, and the `compute` section. Memory only when a sample was taken."""
    compute = {"cpu": _time(session.cpu, _LEAST_CPU)}
    if session.memory:
        compute["memory"] = f"{_power(session.memory / _GIB * _ROOM, _LEAST_MEMORY)}GiB"
    compute["wall"] = _time(session.wall, _LEAST_WALL)
    return _power(session.processes * 2, _LEAST_PROCESSES), compute


def _time(seconds: float, least: int) -> str:
    wanted = max(seconds * _ROOM, least)
    return next((text for value, text in _TIMES if value >= wanted), f"{int(wanted // _HOUR) + 1}h")


def _power(value: float, least: int) -> int:
    power = least
    while power < value:
        power *= 2
    return power
