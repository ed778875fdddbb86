"""Derived inverses: each rule undoes its op, and what cannot be undone is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from specc.ir.inverse import BINARY, UNARY, NoInverse, inverse
from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Ids, Value
from specc.ir.types import EXAMPLE, FLOAT
from specc.reference.interpret import evaluate

EACH = FLOAT.over(EXAMPLE)
Build = Callable[[Builder, Value], Value]


def round_trip(build: Build, x: np.ndarray, others: int = 0) -> None:
    ids = Ids()
    b = Builder(ids)
    value = b.param(EACH.shaped(x.shape[1:]), "x")
    given = [b.param(EACH.shaped(x.shape[1:]), f"y{i}") for i in range(others)]
    y = build(b, value, *given)  # type: ignore[call-arg]
    forward = Function(name="f", kind="function", block=b.block(y))
    made = inverse(forward, {}, ids, lambda _: None)
    more = [np.random.default_rng(1).uniform(0.5, 2, x.shape) for _ in range(others)]
    z = evaluate(forward, [x, *more])[0]
    again = evaluate(made.function, [z, *(more[k - 1] for k in made.others)])[0]
    np.testing.assert_allclose(again, x, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.value)
def test_one_number(op: Op) -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (5, 3))
    round_trip(lambda b, v: b.add(op, v), x)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("op", BINARY, ids=lambda op: op.value)
def test_two_numbers(op: Op, side: int) -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (5, 3))
    round_trip(lambda b, v, w: b.add(op, *((v, w) if side == 0 else (w, v))), x, others=1)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    "build",
    [
        lambda b, v: b.add(Op.RESHAPE, v, shape=(3, 4)),
        lambda b, v: b.add(Op.TRANSPOSE, v, perm=(2, 0, 1)),
        lambda b, v: b.add(Op.FLIP, v, axis=1),
        lambda b, v: b.add(Op.EXPAND, b.add(Op.RESHAPE, v, shape=(2, 1, 3, 2)), shape=(2, 4, 3, 2)),
    ],
    ids=["reshape", "transpose", "flip", "expand"],
)
def test_shapes(build: Build) -> None:
    round_trip(build, np.random.default_rng(0).normal(size=(5, 2, 3, 2)))


def halves(b: Builder, v: Value) -> tuple[Value, Value]:
    return b.add(Op.SLICE, v, axis=0, start=0, stop=2, step=1), b.add(Op.SLICE, v, axis=0, start=2, stop=4, step=1)


def test_a_half_decides_on_the_other() -> None:
    def coupling(b: Builder, v: Value) -> Value:
        a, c = halves(b, v)
        return b.add(Op.CONCAT, b.add(Op.MUL, a, b.add(Op.EXP, b.add(Op.SIN, c))), c, axis=0)

    round_trip(coupling, np.random.default_rng(0).normal(size=(5, 4)))


def test_halves_in_turn() -> None:
    def both(b: Builder, v: Value) -> Value:
        a, c = halves(b, v)
        c = b.add(Op.ADD, c, b.add(Op.SIN, a))
        a = b.add(Op.ADD, a, b.add(Op.SIN, c))
        return b.add(Op.CONCAT, c, a, axis=0)

    round_trip(both, np.random.default_rng(0).normal(size=(5, 4)))


@pytest.mark.parametrize(
    "build",
    [
        lambda b, v: b.add(Op.ADD, v, b.add(Op.SIN, v)),  # not read off y, whatever it is
        lambda b, v: b.add(Op.COS, v),
        lambda b, v: b.add(Op.SLICE, v, axis=0, start=0, stop=2, step=1),  # a part is lost
        lambda b, v: b.add(Op.SUM, v, axes=(0,)),
    ],
    ids=["residual", "cos", "slice", "sum"],
)
def test_no_inverse(build: Build) -> None:
    with pytest.raises(NoInverse):
        round_trip(build, np.random.default_rng(0).normal(size=(5, 4)))
