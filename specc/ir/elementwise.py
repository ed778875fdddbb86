"""Ops that go element by element over aligned arrays, in NumPy: the reference's, and of what passes know while compiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specc.ir.ops import Op

Array = NDArray[Any]


def as_float(x: Array) -> Array:
    """Ints as floats; floats as they are."""
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _ints(a: Array, b: Array) -> bool:
    return bool(np.asarray(a).dtype.kind == np.asarray(b).dtype.kind == "i")


def div(a: Array, b: Array) -> Array:
    return np.asarray(np.true_divide(a, b))


def floordiv(a: Array, b: Array) -> Array:
    """The floor of the rounded quotient."""
    return np.asarray(np.floor_divide(a, b) if _ints(a, b) else np.floor(np.true_divide(a, b)))


def mod(a: Array, b: Array) -> Array:
    return np.asarray(np.mod(a, b) if _ints(a, b) else a - b * floordiv(a, b))


def power(a: Array, b: Array) -> Array:
    """Ints to a negative power are cut towards 0, as the quotient of ints would be."""
    if not _ints(a, b):
        return np.asarray(np.power(a, b))
    cut = np.trunc(np.power(as_float(a), b))
    return np.asarray(np.where(np.asarray(b) >= 0, np.power(a, np.maximum(b, 0)), cut)).astype(np.int64)


def where(c: Array, a: Array, b: Array) -> Array:
    out = np.where(c, a, b)
    return out if np.asarray(a).dtype.kind == np.asarray(b).dtype.kind else as_float(out)


ELEMENTWISE: dict[Op, Callable[..., Any]] = {
    Op.NEG: np.negative,
    Op.ABS: np.abs,
    Op.NOT: np.logical_not,
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: div,
    Op.FLOORDIV: floordiv,
    Op.MOD: mod,
    Op.POW: power,
    Op.MIN: np.minimum,
    Op.MAX: np.maximum,
    Op.EQ: np.equal,
    Op.NE: np.not_equal,
    Op.LT: np.less,
    Op.LE: np.less_equal,
    Op.AND: np.logical_and,
    Op.OR: np.logical_or,
    Op.WHERE: where,
}
