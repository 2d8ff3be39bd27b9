"""Plain data behaves as a frozen record: its members are had by name, and a wrong one is an error."""

from __future__ import annotations

import copy
import pickle

import pytest

from remit.plain import Data, plain


class Point(Data):
    """Two members, one with a default."""

    x: int
    tags: tuple[str, ...] = ()

    def moved(self, by: int) -> Point:
        return self._replace(x=self.x + by)


class Nothing(Data):
    """No member at all."""


class Line(Data):
    """Data within data."""

    start: Point
    ends: list[Point]


def test_members_are_given_in_order_or_by_name() -> None:
    assert Point(1, ("a",)) == Point(x=1, tags=("a",)) == Point(1, tags=("a",))
    assert Point(1).tags == ()
    assert (Point(3).x, Nothing()) == (3, Nothing())


@pytest.mark.parametrize(
    ("values", "members"), [((), {}), ((1, (), 3), {}), ((1,), {"x": 1}), ((1,), {"y": 1}), ((), {"tags": ()})]
)
def test_a_missing_unknown_or_repeated_member_is_an_error(values: tuple[int, ...], members: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point takes x, tags"):
        Point(*values, **members)  # type: ignore[arg-type]


def test_a_member_without_a_default_comes_first() -> None:
    with pytest.raises(TypeError, match="Wrong: a member without a default"):

        class Wrong(Data):
            x: int = 0
            y: int  # type: ignore[misc]


def test_nothing_can_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.other = 2  # type: ignore[attr-defined]
    assert point.moved(2) == Point(3)
    assert point == Point(1)
    assert hash(point) == hash(Point(1))


def test_copies_are_equal() -> None:
    line = Line(Point(1, ("a",)), [Point(2)])
    assert pickle.loads(pickle.dumps(line)) == line
    assert copy.deepcopy(line) == line


def test_it_says_what_it_is() -> None:
    assert repr(Point(1)) == "Point(x=1, tags=())"


def test_plain_makes_tables_of_it_at_every_depth() -> None:
    assert plain({"line": Line(Point(1, ("a",)), [Point(2)])}) == {
        "line": {"start": {"x": 1, "tags": ["a"]}, "ends": [{"x": 2, "tags": []}]}
    }
