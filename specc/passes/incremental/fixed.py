"""Values that are the same in every round: their entries for one place, and, where they depend on nothing, their numbers."""

from __future__ import annotations

import numpy as np

from specc.ir.calc import Calc
from specc.ir.elementwise import ELEMENTWISE
from specc.ir.ops import OPS, Lift, Op
from specc.ir.program import Node, Value
from specc.ir.types import Shape, size


def kept(axis: int, before: Shape, after: Shape) -> int | None:
    """Where a reshape puts a dimension; None where it does not stay one."""
    lead = size(before[:axis])
    found = (j for j, d in enumerate(after) if d == before[axis] and size(after[:j]) == lead)
    return next(found, None)


def rows(c: Calc, value: Value, axis: int, place: Value) -> Value:
    """The entry of a value at a place, of size 1 along the axis: computed for that place where it is a formula of the
    places, else taken from the whole."""
    if value.type.shape[axis] == 1:
        return value
    node = c.b.made_by(value)
    return (_formula(c, node, axis, place) if node is not None else None) or taken(c, value, axis, place)


def taken(c: Calc, value: Value, axis: int, place: Value) -> Value:
    return c.op(Op.RESHAPE, c.op(Op.TAKE, value, place, axis=axis), shape=one(value.type.shape, axis))


def one(shape: Shape, axis: int) -> Shape:
    """A shape with 1 along an axis."""
    return (*shape[:axis], 1, *shape[axis + 1 :])


def _formula(c: Calc, node: Node, axis: int, place: Value) -> Value | None:
    inputs = node.inputs
    match node.op:
        case Op.IOTA:
            return c.op(Op.RESHAPE, place, shape=(1,))
        case Op.EXPAND:
            return c.op(Op.EXPAND, rows(c, inputs[0], axis, place), shape=one(node["shape"], axis))
        case Op.RESHAPE if (source := kept(axis, node["shape"], inputs[0].type.shape)) is not None:
            return c.op(Op.RESHAPE, rows(c, inputs[0], source, place), shape=one(node["shape"], axis))
        case Op.TRANSPOSE:
            return c.op(Op.TRANSPOSE, rows(c, inputs[0], node["perm"][axis], place), perm=node["perm"])
        case Op.CONCAT if node["axis"] % node.out.type.rank != axis:
            return c.op(Op.CONCAT, *(rows(c, v, axis, place) for v in inputs), axis=node["axis"])
        case op if OPS[op].lift is Lift.ALIGN:
            shift = [axis - node.out.type.rank + v.type.rank for v in inputs]
            parts = [rows(c, v, a, place) if a >= 0 else v for v, a in zip(inputs, shift, strict=True)]
            return c.op(op, *parts, **dict(node.attrs))
        case _:
            return None


def numbers(c: Calc, value: Value) -> np.ndarray | None:
    """The elements of a value that is a formula of constants and places alone."""
    node = c.b.made_by(value)
    if node is None:
        return None
    inputs = [numbers(c, v) for v in node.inputs]
    if any(v is None for v in inputs):
        return None
    match node.op:
        case Op.CONST:
            held = np.asarray(node["value"])
            return np.broadcast_to(held, node["shape"]) if held.ndim == 0 else held.reshape(node["shape"])
        case Op.IOTA:
            return np.arange(node["n"])
        case Op.RESHAPE:
            return np.reshape(inputs[0], node["shape"])  # type: ignore[arg-type]
        case Op.EXPAND:
            return np.broadcast_to(inputs[0], node["shape"])  # type: ignore[arg-type]
        case Op.TRANSPOSE:
            return np.transpose(inputs[0], node["perm"])  # type: ignore[arg-type]
        case Op.SPREAD:
            return inputs[0]
        case Op.CAST:
            return np.asarray(inputs[0]).astype({"float": float, "int": int, "bool": bool}[node["dtype"]])
        case op if op in ELEMENTWISE:
            return np.asarray(ELEMENTWISE[op](*inputs))
        case _:
            return None
