"""Arithmetic that appends nodes to a block, with the identities that keep derivatives short."""

from __future__ import annotations

import math
from typing import Any

from specc.ir.ops import Op
from specc.ir.program import Builder, Value
from specc.ir.types import BATCH, EXAMPLE, DType, Shape, Type, size


class Calc:
    """A builder's arithmetic. Operands broadcast as in the table of ops; a product with the number 1 is the other factor."""

    def __init__(self, builder: Builder) -> None:
        self.b = builder

    def op(self, op: Op, *values: Value, **attrs: Any) -> Value:
        return self.b.add(op, *values, **attrs)

    def number(self, value: float) -> Value:
        return self.b.add(Op.CONST, value=float(value), shape=(), dtype="float")

    def constant(self, value: Value) -> float | None:
        """The number that a scalar constant holds."""
        node = self.b.made_by(value)
        if node is None or node.op is not Op.CONST or value.type.rank or value.type.dtype is DType.BOOL:
            return None
        held = node["value"]
        return float(held[0] if isinstance(held, tuple) else held)

    def uniform(self, value: Value) -> float | int | bool | None:
        """The number that every element of a value is known to be."""
        node = self.b.made_by(value)
        while node is not None and node.op in (Op.SPREAD, Op.EXPAND, Op.RESHAPE):
            node = self.b.made_by(node.inputs[0])
        if node is None or node.op is not Op.CONST or (isinstance(node["value"], tuple) and len(node["value"]) != 1):
            return None
        held: float | int | bool = node["value"][0] if isinstance(node["value"], tuple) else node["value"]
        return held

    def batch_of(self, value: Value) -> Value:
        """The value that a batched one gets its examples from: a parameter, mostly. Both have the same size of batch."""
        while (node := self.b.made_by(value)) is not None:
            source = next((v for v in node.inputs if v.type.batched and v.type.axes == value.type.axes), None)
            if source is None:
                break
            value = source
        return value

    def add(self, x: Value, y: Value) -> Value:
        a, b = self.constant(x), self.constant(y)
        if a is not None and b is not None:
            return self.number(a + b)
        if a == 0 and _covers(y, x):
            return y
        if b == 0 and _covers(x, y):
            return x
        if a is not None and a < 0:
            return self.op(Op.SUB, y, self.number(-a))
        return self.op(Op.SUB, x, self.number(-b)) if b is not None and b < 0 else self.op(Op.ADD, x, y)

    def sub(self, x: Value, y: Value) -> Value:
        a, b = self.constant(x), self.constant(y)
        if a is not None and b is not None:
            return self.number(a - b)
        if b == 0:
            return x
        return self.neg(y) if a == 0 else self.op(Op.SUB, x, y)

    def neg(self, x: Value) -> Value:
        a, node = self.constant(x), self.b.made_by(x)
        if a is not None:
            return self.number(-a)
        return node.inputs[0] if node is not None and node.op is Op.NEG else self.op(Op.NEG, x)

    def mul(self, x: Value, y: Value) -> Value:
        a, b = self.constant(x), self.constant(y)
        if a is not None and b is not None:
            return self.number(a * b)
        for number, other in ((a, y), (b, x)):
            if number == 1 and other.type.dtype is DType.FLOAT:
                return other
            if number == -1:
                return self.neg(other)
        return self.op(Op.MUL, x, y)

    def div(self, x: Value, y: Value) -> Value:
        a, b = self.constant(x), self.constant(y)
        if a is not None and b:
            return self.number(a / b)
        return x if b == 1 else self.op(Op.DIV, x, y)

    def scale(self, factor: float, x: Value) -> Value:
        return self.mul(self.number(factor), x)

    def square(self, x: Value) -> Value:
        return self.op(Op.MUL, x, x)

    def sum_kept(self, op: Op, x: Value, axis: int) -> Value:
        """A reduction (SUM, MEAN, AMAX) over one axis, which stays with size 1."""
        axis %= x.type.rank
        shape = (*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :])
        return self.op(Op.RESHAPE, self.op(op, x, axes=(axis,)), shape=shape)

    def reshape(self, x: Value, shape: Shape) -> Value:
        return x if x.type.shape == tuple(shape) else self.op(Op.RESHAPE, x, shape=tuple(shape))

    def slice(self, x: Value, axis: int, start: int, stop: int) -> Value:
        whole = (start, stop) == (0, x.type.shape[axis])
        return x if whole else self.op(Op.SLICE, x, axis=axis, start=start, stop=stop, step=1)

    def swap(self, x: Value) -> Value:
        """The last two dimensions exchanged."""
        r = x.type.rank
        return self.op(Op.TRANSPOSE, x, perm=(*range(r - 2), r - 1, r - 2))

    def full(self, x: Value, like: Value) -> Value:
        """x broadcast to the shape and axes of `like`."""
        want = like.type
        if x.type.shape != want.shape:
            x = self.reshape(x, (*(1,) * (want.rank - x.type.rank), *x.type.shape))
            if x.type.shape != want.shape:
                x = self.op(Op.EXPAND, x, shape=want.shape)
        return self.op(Op.SPREAD, x, like) if want.axes - x.type.axes else x

    def reduced(self, x: Value, source: Value, target: Type) -> Value:
        """The transpose of broadcasting a value of type `target` to that of `source`. x broadcasts to `source`."""
        if source.type.shape == target.shape and source.type.axes == target.axes:
            return x
        x = self.full(x, source)
        if EXAMPLE in source.type.axes - target.axes:
            x = self.op(Op.BATCH_SUM, x)
        lead = x.type.rank - target.rank
        ones = tuple(i for i in range(lead, x.type.rank) if target.shape[i - lead] == 1 != x.type.shape[i])
        axes = (*range(lead), *ones)
        return self.reshape(self.op(Op.SUM, x, axes=axes), target.shape) if axes else x

    def shares(self, x: Value, like: Value) -> Value:
        """A shared value in equal parts, one for each example of `like`, which add up to it."""
        examples = self.op(Op.CAST, self.op(Op.BATCH_SIZE, like), dtype="float")
        some = self.op(Op.MAX, examples, self.number(1))  # a part of the batch may have none
        return self.op(Op.SPREAD, self.div(x, some), like)

    def count(self, x: Value, axes: tuple[int, ...]) -> tuple[float, Value | None]:
        """The number of elements of x along these axes: a known factor, and the size of the batch when that is among them."""
        dims = [x.type.shape[i % x.type.rank] for i in axes]
        known = float(size(tuple(d for d in dims if d != BATCH)))
        batches = dims.count(BATCH)
        if not batches:
            return known, None
        examples = self.op(Op.CAST, self.op(Op.BATCH_SIZE, x), dtype="float")
        return known, examples if batches == 1 else self.op(Op.POW, examples, self.number(batches))


def _covers(x: Value, y: Value) -> bool:
    """Whether adding y to x leaves x's type."""
    return x.type.dtype is DType.FLOAT and y.type.rank == 0 and y.type.axes <= x.type.axes


SQRT_2 = math.sqrt(2)
SQRT_PI = math.sqrt(math.pi)
