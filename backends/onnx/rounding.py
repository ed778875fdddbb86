"""Activations rounded to a format: as pairs that integer kernels replace, or emulated by standard ops.

`static` takes its scale from a range of values found by calibration, `dynamic` from the values themselves: one for each
block of an axis, or for the whole axis, so that a sample does not depend on its batch. The numbers are those of
`specc.ir.coding`.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter

from specc.ir.coding import LEAST, MOST_POWER, activation_range
from specc.ir.formats import FORMATS, Element
from specc.ir.types import Shape
from specc.record import record

NORMAL = -126  # exponent of the least normal float


@record(kw_only=True)
class Rounding:
    """How an operand is rounded: in a range, or by its own values in blocks (of the whole axis: None). `result` is the
    range of what comes out, which integer convolutions round as well."""

    format: str
    interval: tuple[float, float] | None = None
    result: tuple[float, float] | None = None
    block: int | None = None


def rounded(e: Emitter, x: str, shape: Shape, axis: int, how: Rounding) -> str:
    """`x` of this shape, rounded along the axis that a product sums over."""
    if how.interval is None:
        return dynamic(e, x, shape, axis, how)
    return static(e, x, how.format, how.interval)


def static(e: Emitter, x: str, name: str, interval: tuple[float, float]) -> str:
    """The nearest of 256 levels of a range that holds 0, or of an element's numbers under one scale."""
    element = FORMATS[name].element
    if not element.exponent:
        scale, zero = activation_range(*interval)
        s, z = e.const(scale), e.const(zero)
        return e.op("DequantizeLinear", e.op("QuantizeLinear", x, s, z), s, z)
    s = e.const(np.maximum(np.float32(max(map(abs, interval)) / element.largest), LEAST))
    return e.op("Mul", grid(e, e.op("Div", x, s), element), s)


def dynamic(e: Emitter, x: str, shape: Shape, axis: int, how: Rounding) -> str:
    """Blocks get a dimension of their own, behind the one that counts them."""
    axis %= len(shape)
    k = shape[axis]
    assert isinstance(k, int)
    row, size = FORMATS[how.format], how.block or k
    rest = -k % size
    if rest:
        x = e.op("Pad", x, e.ints(0, rest), "", e.ints(axis))
    split = (*shape[:axis], (k + rest) // size, size, *shape[axis + 1 :])
    parts = e.op("Reshape", x, e.dims(split, infer=True))
    largest = e.op("ReduceMax", e.op("Abs", parts), e.ints(axis + 1), keepdims=1)
    if row.scale == "e8m0":
        scale = _power(e, largest, row.element.top)
    else:
        scale = e.op("Max", e.op("Div", largest, e.const(np.float32(row.element.largest))), e.const(LEAST))
    values = e.op("Mul", grid(e, e.op("Div", parts, scale), row.element), scale)
    whole = e.op("Reshape", values, e.dims((*shape[:axis], k + rest, *shape[axis + 1 :]), infer=True))
    return e.op("Slice", whole, e.ints(0), e.ints(k), e.ints(axis)) if rest else whole


def grid(e: Emitter, x: str, element: Element) -> str:
    """The nearest of an element's numbers."""
    top = e.const(np.float32(element.largest))
    x = e.op("Clip", x, e.op("Neg", top), top)
    step = e.const(np.float32(element.unit))
    if element.exponent:
        low = 1 - element.bias
        steps = np.ldexp(np.ones(element.top - low + 1, np.float32), np.arange(low, element.top + 1) - element.mantissa)
        size = e.op("Max", e.op("Abs", x), e.const(np.float32(2.0**low)))
        step = e.op("Gather", e.const(steps), e.op("Sub", _exponent(e, size), e.const(np.int32(low))))
    return e.op("Mul", e.op("Round", e.op("Div", x, step)), step)


def _exponent(e: Emitter, x: str) -> str:
    """floor(log2 x), int32; next to a power of two it may be one off."""
    power = e.op("Floor", e.op("Mul", e.op("Log", x), e.const(np.float32(1 / np.log(2)))))
    return e.op("Cast", power, to=TensorProto.INT32)


def _power(e: Emitter, x: str, top: int) -> str:
    """The largest power of two up to x, over 2^top. The logarithm is corrected, so that the power is exact."""
    powers = np.ldexp(np.ones(MOST_POWER - NORMAL + 1, np.float32), np.arange(NORMAL, MOST_POWER + 1))
    index = e.op("Sub", _exponent(e, e.op("Max", x, e.const(powers[0]))), e.const(np.int32(NORMAL)))
    index = e.op("Clip", index, e.const(np.int32(0)), e.const(np.int32(len(powers) - 1)))
    found = e.op("Gather", e.const(powers), index)
    half, twice = e.op("Mul", found, e.const(np.float32(0.5))), e.op("Mul", found, e.const(np.float32(2)))
    found = e.op("Where", e.op("Less", x, found), half, e.op("Where", e.op("GreaterOrEqual", x, twice), twice, found))
    least = e.const(np.ldexp(np.float32(1), -MOST_POWER))
    return e.op("Max", e.op("Mul", found, e.const(np.float32(2.0**-top))), least)
