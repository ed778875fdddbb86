"""Records are what frozen dataclasses are."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from specc.record import record


@record
class Point:
    x: int
    y: int = 0
    seen: list[int] = field(default_factory=list, repr=False, compare=False)


@record(kw_only=True, eq=False)
class Named:
    name: str
    at: Point = Point(1)


@record(kw_only=True, eq=False)
class Longer(Named):
    """A record with more fields."""

    more: int


@dataclass(frozen=True, slots=True)
class Usual:
    x: int
    y: int = 0
    seen: list[int] = field(default_factory=list, repr=False, compare=False)


@pytest.mark.parametrize("made", [Point, Usual])
def test_equality_hash_text_and_copies(made: type[Point]) -> None:
    p = made(1, y=2)
    assert p == made(1, 2, [3]) and hash(p) == hash((1, 2)) and p != made(1, 3) and p != (1, 2)
    assert repr(p) == f"{made.__name__}(x=1, y=2)"
    assert replace(p, x=5) == made(5, 2)
    assert [f.name for f in fields(p)] == ["x", "y", "seen"]
    assert made(0).seen is not made(0).seen
    match p:
        case made(x, y):
            assert (x, y) == (1, 2)
    with pytest.raises(TypeError):
        made()  # type: ignore[call-arg]


@pytest.mark.parametrize("made", [Point, Usual])
def test_nothing_is_changed_or_added(made: type[Point]) -> None:
    p = made(1)
    for change in (lambda: setattr(p, "x", 2), lambda: setattr(p, "z", 2), lambda: delattr(p, "x")):
        with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
            change()
    assert p.x == 1 and not hasattr(p, "__dict__")


def test_without_equality_a_record_is_equal_to_itself_alone() -> None:
    a = Longer(name="a", more=1)
    assert a == a and a != Longer(name="a", more=1) and a.at == Point(1) and len({a, a}) == 1
    with pytest.raises(TypeError):
        Longer("a", more=1)  # type: ignore[misc]
