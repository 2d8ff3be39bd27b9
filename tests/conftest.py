"""Tests that run real sessions stay in one process, one after the other; all others may run beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

ONE_AFTER_THE_OTHER = [Path(__file__).parent / name for name in ("kernel", "scenarios")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(place) for place in ONE_AFTER_THE_OTHER):
            item.add_marker(pytest.mark.xdist_group("sessions"))
    # The long ones first: the others fill what is left of the time.
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
