"""Plain data: immutable, with named and typed members, quick to define, and turned into tables as JSON carries them.

What `remit run` loads holds its data so. To define a frozen data class takes fifty times as long, and a NamedTuple
twenty times, because both write source and compile it; of these there are some sixty (docs/decisions/15).
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Data(tuple[Any, ...]):
    """A tuple whose members are its class's annotations, in order: `class Wall(Data): name: str; held: bool = True`.

    Members are given in order or by name. Raises TypeError when one is missing, unknown or given twice.
    """

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[tuple[Any, ...]] = ()  # of the last fields

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)  # its own alone (3.10 and newer)
        members = cls.__dict__
        cls._defaults = tuple(members[name] for name in cls._fields if name in members)
        if cls._defaults and any(name not in members for name in cls._fields[-len(cls._defaults) :]):
            raise TypeError(f"{cls.__name__}: a member without a default follows one that has one")
        for place, name in enumerate(cls._fields):
            setattr(cls, name, property(itemgetter(place)))

    def __new__(cls, *values: Any, **members: Any) -> Self:
        missing = len(cls._fields) - len(values)
        if missing or members:
            if members or not 0 < missing <= len(cls._defaults):
                values = cls._complete(values, members)
            else:
                values += cls._defaults[-missing:]
        return tuple.__new__(cls, values)

    @classmethod
    def _complete(cls, values: tuple[Any, ...], members: dict[str, Any]) -> tuple[Any, ...]:
        rest = cls._fields[len(values) :]
        known = dict(zip(reversed(cls._fields), reversed(cls._defaults), strict=False))
        known.update(members)
        if len(values) > len(cls._fields) or not members.keys() <= set(rest) or not known.keys() >= set(rest):
            raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}; got {len(values)} and {sorted(members)}")
        return (*values, *(known[name] for name in rest))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **members: Any) -> Self:
        """The same with some members changed."""
        return type(self)(**{**self._asdict(), **members})

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"


def plain(value: Any) -> Any:
    """The same value with all data in it as tables, in the order of its members; grows with the size of the value."""
    if isinstance(value, Data):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
