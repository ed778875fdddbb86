"""Calls that stand for several nodes: each gives what the nodes gave, and what only looks like it is left alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from projects import agree

from specc.ir.ops import Op
from specc.ir.program import Builder, Value
from specc.ir.types import FLOAT, INT, Type

sys.path.insert(0, str(Path(__file__).parents[1] / "passes"))
from programs import const, feeds, per, single, weights


def shown(types: dict[str, Type], body: Any) -> str:
    made = single(types, body)
    inputs = feeds(made)
    first = next(iter(inputs))
    return agree(made, inputs | {first: inputs[first] - 0.7}, weights(made))  # on both sides of 0


@pytest.mark.parametrize("slope, call", [(0.2, "F.leaky_relu(x, 0.2)"), (1.5, "torch.maximum(x, 1.5 * x)")])
def test_a_share_of_what_is_below_zero(slope: float, call: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.add(Op.MAX, b.add(Op.MUL, const(b, slope), x), x)

    text = shown({"x": per(FLOAT.shaped((4,)))}, body)
    assert call in text or call.replace("x, 1.5 * x", "1.5 * x, x") in text


@pytest.mark.parametrize(
    "op, swapped, call",
    [(Op.LT, False, "tril(-1)"), (Op.LE, False, "tril()"), (Op.LT, True, "triu(1)"), (Op.LE, True, "triu()")],
)
def test_one_side_of_the_diagonal(op: Op, swapped: bool, call: str) -> None:
    def body(b: Builder, w: Value) -> Value:
        k = b.add(Op.IOTA, n=3)
        row = b.add(Op.EXPAND, b.add(Op.RESHAPE, k, shape=(3, 1)), shape=(3, 3))
        column = b.add(Op.EXPAND, b.add(Op.RESHAPE, k, shape=(1, 3)), shape=(3, 3))
        pair = (row, column) if swapped else (column, row)
        return b.add(Op.WHERE, b.add(op, *pair), w, const(b, 0.0))

    assert f"w.{call}" in shown({"w": FLOAT.shaped((3, 3))}, body)


@pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
def test_a_vector_on_the_diagonal(shape: tuple[int, int]) -> None:
    def body(b: Builder, v: Value) -> Value:
        k = b.add(Op.IOTA, n=3)
        row, column = (b.add(Op.EXPAND, b.add(Op.RESHAPE, k, shape=s), shape=(3, 3)) for s in ((3, 1), (1, 3)))
        each = b.add(Op.EXPAND, b.add(Op.RESHAPE, v, shape=shape), shape=(3, 3))
        return b.add(Op.WHERE, b.add(Op.EQ, row, column), each, const(b, 0.0))

    assert "v.diag()" in shown({"v": FLOAT.shaped((3,))}, body)


def test_a_row_compared_with_itself_is_no_triangle() -> None:
    def body(b: Builder, w: Value) -> Value:
        row = b.add(Op.EXPAND, b.add(Op.RESHAPE, b.add(Op.IOTA, n=3), shape=(3, 1)), shape=(3, 3))
        return b.add(Op.WHERE, b.add(Op.LE, row, row), w, const(b, 0.0))

    assert ".tri" not in shown({"w": FLOAT.shaped((3, 3))}, body)


@pytest.mark.parametrize("perm, call", [((0, 2, 4, 1, 3), "F.pixel_unshuffle(x, 2)"), ((0, 4, 2, 1, 3), ".permute(")])
def test_blocks_of_pixels_become_channels(perm: tuple[int, ...], call: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        blocks = b.add(Op.TRANSPOSE, b.add(Op.RESHAPE, x, shape=(3, 2, 2, 3, 2)), perm=perm, name="blocks")
        return b.add(Op.RESHAPE, blocks, shape=(12, 2, 3))

    assert call in shown({"x": per(FLOAT.shaped((3, 4, 6)))}, body)


@pytest.mark.parametrize("perm, call", [((0, 3, 1, 4, 2), "F.pixel_shuffle(x, 2)"), ((0, 3, 2, 4, 1), ".permute(")])
def test_channels_become_blocks_of_pixels(perm: tuple[int, ...], call: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.add(Op.RESHAPE, b.add(Op.TRANSPOSE, b.add(Op.RESHAPE, x, shape=(3, 2, 2, 2, 3)), perm=perm), shape=(3, 4, 6))

    assert call in shown({"x": per(FLOAT.shaped((12, 2, 3)))}, body)


def test_parts_are_stacked() -> None:
    def body(b: Builder, x: Value) -> Value:
        parts = [b.add(Op.RESHAPE, b.add(op, x), shape=(3, 1)) for op in (Op.SIN, Op.COS)]
        return b.add(Op.CONCAT, *parts, axis=1)

    assert "torch.stack([x.sin(), x.cos()], dim=-1)" in shown({"x": per(FLOAT.shaped((3,)))}, body)


def test_a_row_times_a_matrix() -> None:
    def body(b: Builder, v: Value, m: Value) -> Value:
        return b.add(Op.RESHAPE, b.add(Op.MATMUL, b.add(Op.RESHAPE, v, shape=(1, 3)), m), shape=(2,))

    assert "return v @ m" in shown({"v": per(FLOAT.shaped((3,))), "m": FLOAT.shaped((3, 2))}, body)


@pytest.mark.parametrize("op", [Op.ADD, Op.MUL, Op.DIV])
@pytest.mark.parametrize("number", [False, True])
def test_integers_meet_floats_without_a_cast(op: Op, number: bool) -> None:
    def body(b: Builder, x: Value) -> tuple[Value, Value]:
        k = b.add(Op.CAST, b.add(Op.IOTA, n=4), dtype="float")
        return b.add(op, k, const(b, 2.0) if number else x), x

    assert ".float()" not in shown({"x": per(FLOAT.shaped((4,)))}, body)


def test_integers_alone_are_cast() -> None:
    def body(b: Builder, k: Value) -> Value:
        return b.add(Op.POW, b.add(Op.CAST, k, dtype="float"), const(b, 0.5))

    made = single({"k": per(INT.shaped((4,)))}, body)
    assert ".float()" in agree(made, feeds(made), weights(made))


@pytest.mark.parametrize(
    ("before", "between", "after", "call"),
    [
        ((3, 1, 1), (3, 2, 1), (3, 2), "x[:, :, None].expand(-1, -1, 2)"),
        ((1, 3, 1), (4, 3, 1), (4, 3), "x[:, None].expand(-1, 4, -1)"),
        ((3, 1), (3, 2), (2, 3), ".reshape(-1, 2, 3)"),
        ((1, 3), (2, 3), (6,), "x[:, None].expand(-1, 2, -1).flatten(1)"),
    ],
)
def test_repetition_is_one_call(before: tuple[int, ...], between: tuple[int, ...], after: tuple[int, ...], call: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        return b.add(Op.RESHAPE, b.add(Op.EXPAND, b.add(Op.RESHAPE, x, shape=before), shape=between), shape=after)

    assert call in shown({"x": per(FLOAT.shaped((3,)))}, body)


def test_a_number_of_arrays_is_repeated_for_each_example() -> None:
    def body(b: Builder, x: Value, w: Value) -> Value:
        total = b.add(Op.SUM, w, axes=(0,), name="total")
        wide = b.add(Op.EXPAND, b.add(Op.RESHAPE, total, shape=(1, 1)), shape=(1, 4))
        return b.add(Op.CONCAT, x, b.add(Op.SPREAD, wide, x), axis=0)

    assert "total.expand(len(x), 1, 4)" in shown({"x": per(FLOAT.shaped((2, 4))), "w": FLOAT.shaped((5,))}, body)


def test_an_array_of_one_number_is_made_as_large_as_it_becomes() -> None:
    def body(b: Builder, x: Value) -> Value:
        zeros = b.add(Op.EXPAND, b.add(Op.RESHAPE, const(b, 0.0), shape=(1, 1)), shape=(2, 3))
        return b.add(Op.CONCAT, x, b.add(Op.SPREAD, zeros, x), axis=0)

    assert "torch.zeros(len(x), 2, 3, device=x.device)" in shown({"x": per(FLOAT.shaped((1, 3)))}, body)


def test_what_broadcasting_spreads_stays_small() -> None:
    def body(b: Builder, x: Value, w: Value) -> Value:
        return b.add(Op.SUB, x, b.add(Op.SPREAD, w, x))

    assert "return x - w" in shown({"x": per(FLOAT.shaped((3,))), "w": FLOAT.shaped((3,))}, body)


def test_shapes_follow_what_is_given() -> None:
    def body(b: Builder, x: Value) -> Value:
        flat = b.add(Op.RESHAPE, x, shape=(2, 12))
        return b.add(Op.RESHAPE, b.add(Op.SORT, flat, axis=1), shape=(2, 3, 4))

    assert "reshape_as(x)" in shown({"x": per(FLOAT.shaped((2, 3, 4)))}, body)


def test_a_table_is_a_buffer_of_its_class() -> None:
    """Made once, on the device of the parameters, and in no checkpoint: `agree` compares the keys of the state."""
    from programs import function, program

    from specc.ir.program import Ids

    ids = Ids()
    numbers = tuple(float(i) for i in range(6))

    def inner(b: Builder, x: Value) -> Value:
        scale = b.add(Op.PARAM, path="scale", shape=(6,), init=("ones",))
        table = b.add(Op.CONST, value=numbers, shape=(6,), dtype="float", name="places")
        return b.add(Op.ADD, b.add(Op.MUL, scale, x), table)

    def outer(b: Builder, x: Value) -> Value:
        (out,) = b.add_many(Op.CALL, x, function="net", bundle="net", lanes=1, types=(per(FLOAT.shaped((6,))),))
        return out

    net = function(ids, "net", "network", {"x": per(FLOAT.shaped((6,)))}, inner)
    made = program(function(ids, "main", "entry", {"x": per(FLOAT.shaped((6,)))}, outer), net, networks={"net": "net"})
    text = agree(made, feeds(made), weights(made))
    assert 'self.register_buffer("places", torch.tensor([0.0, 1, 2, 3, 4, 5]), persistent=False)' in text


@pytest.mark.parametrize("axis, call", [(0, "x[:, 2]"), (1, "x[..., 2]")])
def test_one_place_of_an_axis_is_an_index(axis: int, call: str) -> None:
    def body(b: Builder, x: Value) -> Value:
        cut = b.add(Op.SLICE, x, axis=axis, start=2, stop=3, step=1)
        return b.add(Op.RESHAPE, cut, shape=(4,) if axis == 0 else (3,))

    text = shown({"x": per(FLOAT.shaped((3, 4)))}, body)
    assert call in text and "squeeze" not in text


@pytest.mark.parametrize("places", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("doubled", [False, True])
def test_classes_and_their_logits_are_one_call(places: tuple[int, ...], doubled: bool) -> None:
    """Unless what is added up are not the logits of which one is taken."""
    last = len(places)

    def body(b: Builder, x: Value) -> Value:
        at = b.add(Op.ARGMAX, b.add(Op.SIN, b.add(Op.MUL, const(b, 9.0), x)), axis=last)
        summed = b.add(Op.MUL, const(b, 2.0), x) if doubled else x
        return b.add(Op.SUB, b.add(Op.LOGSUMEXP, summed, axes=(last,)), b.add(Op.TAKE, x, at, axis=last, batch=last))

    text = shown({"x": per(FLOAT.shaped((*places, 5)))}, body)
    assert ("F.cross_entropy(x" in text) is not doubled
