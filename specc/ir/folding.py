"""Rewrites of one node: arithmetic on constants, and identities that hold for values of any shape.

`reduced` gives a value equal to the node's result, made of operands or of a few new nodes, or None. The caller sees to it
that the type stays what it was.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Node, Value
from specc.ir.types import DType

Number = float | int | bool


def _ties_to_even(x: float) -> float:
    return float(round(x))


def _power(x: Number, y: Number) -> Number:
    return x**y if not (isinstance(x, int) and isinstance(y, int)) or y >= 0 else int(float(x) ** y)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


FOLD: dict[Op, Callable[..., Number]] = {
    Op.NEG: operator.neg,
    Op.ABS: abs,
    Op.SIGN: lambda x: type(x)((x > 0) - (x < 0)),
    Op.EXP: math.exp,
    Op.EXPM1: math.expm1,
    Op.LOG: math.log,
    Op.LOG1P: math.log1p,
    Op.SQRT: math.sqrt,
    Op.SIN: math.sin,
    Op.COS: math.cos,
    Op.TAN: math.tan,
    Op.ASIN: math.asin,
    Op.ACOS: math.acos,
    Op.ATAN: math.atan,
    Op.TANH: math.tanh,
    Op.SIGMOID: _sigmoid,
    Op.ERF: math.erf,
    Op.LGAMMA: math.lgamma,
    Op.FLOOR: lambda x: float(math.floor(x)),
    Op.CEIL: lambda x: float(math.ceil(x)),
    Op.ROUND: _ties_to_even,
    Op.NOT: operator.not_,
    Op.ADD: operator.add,
    Op.SUB: operator.sub,
    Op.MUL: operator.mul,
    Op.DIV: operator.truediv,
    Op.FLOORDIV: operator.floordiv,
    Op.MOD: operator.mod,
    Op.POW: _power,
    Op.MIN: min,
    Op.MAX: max,
    Op.EQ: operator.eq,
    Op.NE: operator.ne,
    Op.LT: operator.lt,
    Op.LE: operator.le,
    Op.AND: lambda x, y: x and y,
    Op.OR: lambda x, y: x or y,
}
KIND: dict[DType, Callable[[Any], Number]] = {DType.FLOAT: float, DType.INT: int, DType.BOOL: bool}


def literal(c: Calc, number: Number, dtype: DType) -> Value:
    return c.op(Op.CONST, value=KIND[dtype](number), shape=(), dtype=dtype.value)


def reduced(c: Calc, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """inputs: the operands, already rewritten. The type of the result may be narrower than the node's."""
    numbers = [c.uniform(v) for v in inputs]
    if inputs and all(n is not None for n in numbers) and (folded := _folded(node, numbers)) is not None:
        return literal(c, folded, node.out.type.dtype)
    match node.op:
        case Op.ADD | Op.SUB:
            return _sum(c, node.op, inputs[0], inputs[1], *numbers)
        case Op.MUL | Op.DIV:
            return _product(c, node.op, inputs[0], inputs[1], *numbers)
        case Op.POW if numbers[1] == 1:
            return inputs[0]
        case Op.POW if numbers[1] == 0:
            return c.number(1)
        case Op.NEG | Op.NOT:
            inner = c.b.made_by(inputs[0])
            return inner.inputs[0] if inner is not None and inner.op is node.op else None
        case Op.SUM | Op.MEAN if (plus := _negated(c, inputs[0])) is not None:
            return c.neg(c.op(node.op, plus, axes=node["axes"]))
        case Op.WHERE if numbers[0] is not None:
            return inputs[1] if numbers[0] else inputs[2]
        case Op.WHERE | Op.MIN | Op.MAX | Op.AND | Op.OR if inputs[-1].id == inputs[-2].id:
            return inputs[-1]
        case Op.AND | Op.OR:
            return _logical(c, node.op, inputs, numbers)
        case _:
            return _shape(c, node, inputs)


def _folded(node: Node, numbers: list[Any]) -> Number | None:
    if node.op is Op.CAST:
        return KIND[DType(node["dtype"])](numbers[0])
    if node.op not in FOLD:
        return None
    if node.op not in (Op.NOT, Op.AND, Op.OR) and any(isinstance(n, bool) for n in numbers):
        return None
    try:
        made = FOLD[node.op](*numbers)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None  # not a number or infinite: left to happen where it is computed
    return None if isinstance(made, complex) or not math.isfinite(made) else made


def _negated(c: Calc, value: Value) -> Value | None:
    node = c.b.made_by(value)
    return node.inputs[0] if node is not None and node.op is Op.NEG else None


def _sum(c: Calc, op: Op, x: Value, y: Value, a: Number | None, b: Number | None) -> Value | None:
    if b == 0:
        return x
    if a == 0:
        return y if op is Op.ADD else c.op(Op.NEG, y)
    if op is Op.SUB and x.id == y.id:
        return literal(c, 0, x.type.dtype)
    if (minus := _negated(c, y)) is not None:
        return c.op(Op.SUB if op is Op.ADD else Op.ADD, x, minus)
    if op is Op.ADD and (minus := _negated(c, x)) is not None:
        return c.op(Op.SUB, y, minus)
    return None


def _product(c: Calc, op: Op, x: Value, y: Value, a: Number | None, b: Number | None) -> Value | None:
    if b == 1:
        return x
    if a == 0 or (op is Op.MUL and b == 0):
        return literal(c, 0, DType.FLOAT if op is Op.DIV or DType.FLOAT in (x.type.dtype, y.type.dtype) else DType.INT)
    if op is Op.MUL and a == 1:
        return y
    if op is Op.MUL and (a == -1 or b == -1):
        return c.op(Op.NEG, y if a == -1 else x)
    left, right = _negated(c, x), _negated(c, y)
    if left is not None and right is not None:
        return c.op(op, left, right)
    if op is Op.MUL and a is not None and isinstance(a, float):
        return _scaled(c, a, y)
    return None


def _scaled(c: Calc, a: float, y: Value) -> Value | None:
    """a (b z) as (a b) z."""
    node = c.b.made_by(y)
    if node is None or node.op is not Op.MUL:
        return None
    for number, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        b = c.constant(number)
        if b is not None and other.type == y.type:
            return c.op(Op.MUL, c.number(a * b), other)
    return None


def _logical(c: Calc, op: Op, inputs: tuple[Value, ...], numbers: list[Any]) -> Value | None:
    for number, other in zip(numbers, reversed(inputs), strict=True):
        if number is not None:
            return other if bool(number) == (op is Op.AND) else literal(c, number, DType.BOOL)
    return None


def _shape(c: Calc, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """Changes of shape that change nothing, and two in a row that are one."""
    if not inputs:
        return None
    x = inputs[0]
    inner = c.b.made_by(x)
    match node.op:
        case Op.RESHAPE | Op.EXPAND if x.type.shape == node.out.type.shape:
            return x
        case Op.RESHAPE if inner is not None and inner.op is Op.RESHAPE:
            return c.reshape(inner.inputs[0], node["shape"])
        case Op.TRANSPOSE:
            perm = node["perm"]
            if tuple(perm) == tuple(range(len(perm))):
                return x
            if inner is not None and inner.op is Op.TRANSPOSE:
                return c.op(Op.TRANSPOSE, inner.inputs[0], perm=tuple(inner["perm"][k] for k in perm))
            return None
        case Op.SLICE if node.out.type.shape == x.type.shape and node.get("step", 1) == 1:
            return x
        case Op.PAD if not any(lo or hi for lo, hi in node["pads"]):
            return x
        case Op.CONCAT if len(inputs) == 1:
            return x
        case Op.CAST if x.type.dtype is node.out.type.dtype:
            return x
        case Op.SUM | Op.MEAN | Op.PROD | Op.AMAX | Op.AMIN | Op.LOGSUMEXP if all(x.type.shape[a] == 1 for a in node["axes"]):
            return c.reshape(x, node.out.type.shape)
        case Op.STOP if c.uniform(x) is not None:
            return x
        case Op.SPREAD if (root := c.batch_of(inputs[1])).id != inputs[1].id:
            return c.op(Op.SPREAD, x, root)
        case Op.BATCH_SIZE | Op.BATCH_INDEX if (root := c.batch_of(x)).id != x.id:
            return c.op(node.op, root)
        case _:
            return None
