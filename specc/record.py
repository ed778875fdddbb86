"""Frozen records: what `@dataclass(frozen=True, slots=True)` makes, at a fifth of the price.

A dataclass compiles six methods for each class from text; for the hundred classes of the checker that was a fifth of a cold
`specc check`. A record compiles its `__init__` alone. `fields`, `replace` and patterns work as they do for dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, kw_only: bool = False, eq: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: Any = None, /, *, kw_only: bool = False, eq: bool = True) -> Any:
    """A class of frozen values with named fields. kw_only: given by name alone. Without eq, each is equal to itself only."""

    def make(cls: type[T]) -> type[T]:
        cls.__doc__ = cls.__doc__ or cls.__name__  # or a signature is worked out to stand in its place
        made: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
        made.__init__ = _init(fields(made))
        made.__setattr__ = made.__delattr__ = _frozen
        if "__repr__" not in cls.__dict__:
            made.__repr__ = _repr
        if eq:
            made.__eq__, made.__hash__ = _equality(tuple(f.name for f in fields(made) if f.compare))
        return made

    return make if cls is None else make(cls)


def _init(every: tuple[Field[Any], ...]) -> Any:
    """`__init__` of these fields, as a person would write it."""
    known: dict[str, Any] = {"put": object.__setattr__, "MISSING": MISSING}
    heads: dict[bool, list[str]] = {False: [], True: []}
    body = []
    for f in every:
        default = "" if f.default is MISSING and f.default_factory is MISSING else f" = default_{f.name}"
        known[f"default_{f.name}"] = f.default
        value = f.name
        if f.default_factory is not MISSING:
            known[f"make_{f.name}"] = f.default_factory
            value = f"make_{f.name}() if {f.name} is MISSING else {f.name}" if f.init else f"make_{f.name}()"
        if f.init:
            heads[bool(f.kw_only)].append(f.name + default)
        body.append(f"    put(self, {f.name!r}, {value})")
    named = ["*", *heads[True]] if heads[True] else []
    exec(f"def __init__({', '.join(['self', *heads[False], *named])}):\n" + "\n".join(body or ["    pass"]), known)
    return known["__init__"]


def _equality(names: tuple[str, ...]) -> tuple[Any, Any]:
    """`__eq__` and `__hash__` by the values of these fields."""
    values = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _repr(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({shown})"


def _frozen(self: Any, name: str, *_: Any) -> NoReturn:
    raise FrozenInstanceError(f"`{name}` of a {type(self).__qualname__} stays as it was made")
