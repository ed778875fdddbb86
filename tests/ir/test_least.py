"""Inputs that count the turns of a loop, as a program says: in its entry, in what that calls, and with a number added."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from specc.ir.least import least
from specc.ir.ops import Op
from specc.ir.program import Block, Builder, Entry, Function, Ids, Input, Program, Value
from specc.ir.types import FLOAT, INT

Count = Callable[[Builder, Value], Value]


def number(b: Builder, value: int) -> Value:
    return b.add(Op.CONST, value=value, shape=(), dtype="int")


def doubled(b: Builder, count: Value) -> Block:
    """1, doubled so many times."""
    body = b.child()
    _, state = body.param(INT, "k"), body.param(FLOAT, "z")
    one = b.add(Op.CONST, value=1.0, shape=(), dtype="float")
    return b.block(b.add(Op.FOR, count, one, regions=(body.block(body.add(Op.ADD, state, state)),)))


def program(count: Count, called: bool, default: int) -> Program:
    """An entry, of `steps` and `other`, that doubles as often as they say: itself, or in a function that it calls."""
    ids = Ids()
    inner, b = Builder(ids), Builder(ids)
    helper = Function(name="doubled", kind="function", block=doubled(inner, inner.param(INT, "n")))
    steps = b.param(INT, "steps")
    b.param(INT, "other")
    n = count(b, steps)
    block = b.block(b.add(Op.CALL, n, function="doubled", types=(FLOAT,))) if called else doubled(b, n)
    inputs = (Input(name="steps", role="argument", type=INT, default=default), Input(name="other", role="argument", type=INT))
    return Program(
        name="toy",
        level="example",
        spec="toy.spec",
        digest="0" * 64,
        functions={"doubled": helper, "draw": Function(name="draw", kind="entry", block=block)},
        networks={},
        entries={"draw": Entry(name="draw", role="sampler", function="draw", inputs=inputs)},
    )


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize(
    ("count", "default", "said"),
    [
        (lambda b, n: n, 8, {"steps": 1}),
        (lambda b, n: b.add(Op.SUB, n, number(b, 1)), 8, {"steps": 1}),  # the last step is made after the loop
        (lambda b, n: b.add(Op.SUB, n, number(b, 3)), 8, {"steps": 3}),
        (lambda b, n: b.add(Op.ADD, number(b, -2), b.add(Op.SUB, n, number(b, 2))), 8, {"steps": 4}),
        (lambda b, n: b.add(Op.ADD, n, number(b, 2)), 8, {"steps": 1}),
        (lambda b, n: n, 0, {"steps": 0}),  # none is what its author meant
        (lambda b, n: number(b, 5), 8, {}),
        (lambda b, n: b.add(Op.SUB, number(b, 9), n), 8, {}),  # at most, then
    ],
)
def test_what_counts_turns_has_a_least_value(count: Count, default: int, said: dict[str, int], called: bool) -> None:
    p = program(count, called, default)
    assert least(p, p.entries["draw"]) == said
