"""Activations rounded to a format: as pairs that integer kernels replace, or emulated by standard ops.

`static` takes its scale from a range of values found by calibration, `dynamic` from the values themselves: one for each
block of an axis, or for the whole axis, so that a sample does not depend on its batch. The numbers are those of
`specc.ir.coding`.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter

from specc.ir.coding import LEAST, MOST_POWER, activation_range
from specc.ir.formats import FORMATS, Element, Format
from specc.ir.program import Node
from specc.ir.types import GROWING, Dim, DType, Shape
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
    affine: bool = False


def rounded(e: Emitter, x: str, shape: Shape, axis: int, how: Rounding) -> str:
    """`x` of this shape, rounded along the axis that a product sums over."""
    if how.interval is None:
        return dynamic(e, x, shape, (axis,), FORMATS[how.format], how.block or 0, how.affine)
    return static(e, x, how.format, how.interval)


def static(e: Emitter, x: str, name: str, interval: tuple[float, float]) -> str:
    """The nearest of 256 levels of a range that holds 0, or of an element's numbers under one scale."""
    element = FORMATS[name].element
    if not element.exponent:
        if e.plain:
            scale, zero = activation_range(*interval)
            return _levels(e, x, e.const(scale), e.const(np.float32(zero)), e.const(np.float32(2**8 - 1))).values(e)
        return e.op("DequantizeLinear", *quantized(e, x, interval))
    s = e.const(np.maximum(np.float32(max(map(abs, interval)) / element.largest), LEAST))
    return e.op("Mul", grid(e, e.op("Div", x, s), element), s)


def quantized(e: Emitter, x: str, interval: tuple[float, float]) -> tuple[str, str, str]:
    """Codes of 8 bits without sign, their scale and their zero."""
    scale, zero = activation_range(*interval)
    s, z = e.const(scale), e.const(zero)
    return e.op("QuantizeLinear", x, s, z), s, z


def round_to(e: Emitter, node: Node, x: str = "") -> str:
    """The row of the table of ops; of another tensor where one is given."""
    x = x or e.number(node.inputs[0], DType.FLOAT)
    row, block, affine = FORMATS[node["format"]], node.get("block", 0), node.get("affine", False)
    return dynamic(e, x, node.out.type.shape, node["axes"], row, block, affine)


def dynamic(e: Emitter, x: str, shape: Shape, along: tuple[int, ...], row: Format, block: int = 0, affine: bool = False) -> str:
    """Under scales from the numbers themselves: those along some axes, or each block of them, become the last dimension."""
    rank = len(shape)
    axes = sorted(i % rank for i in along)
    order = [i for i in range(rank) if i not in axes] + axes
    lead: Shape = tuple(shape[i] for i in order[: rank - len(axes)])
    rows, k = _turned(e, x, order), shape[axes[0]]
    if len(axes) > 1:
        k = math.prod(int(shape[i]) for i in axes)
        rows = e.op("Reshape", rows, e.dims((*lead, k), infer=True))
    parts = units(e, groups(e, rows, len(lead), k, block), row, affine, k, block)
    values = joined(e, parts.values(e), rows, len(lead), k, block)
    if len(axes) > 1:
        values = e.op("Reshape", values, e.dims((*lead, *(shape[i] for i in axes)), infer=True))
    return _turned(e, values, [order.index(i) for i in range(rank)])


def _turned(e: Emitter, x: str, perm: list[int]) -> str:
    return x if perm == sorted(perm) else e.op("Transpose", x, perm=perm)


def groups(e: Emitter, rows: str, lead: int, k: Dim, block: int) -> str:
    """Rows (..., k) behind `lead` dimensions as (..., numbers that share a scale); the last block is filled up."""
    if not block:
        return rows
    if k == GROWING:
        left = e.op("Mod", e.op("Neg", e.op("Shape", rows, start=-1)), e.ints(block))
        rows = e.op("Pad", rows, e.op("Concat", e.ints(0), left, axis=0), "", e.ints(-1))
    elif rest := -int(k) % block:
        rows = e.op("Pad", rows, e.ints(0, rest), "", e.ints(-1))
    return e.op("Reshape", rows, e.ints(*[0] * lead, -1, block))


def joined(e: Emitter, values: str, rows: str, lead: int, k: Dim, block: int) -> str:
    """The inverse of `groups` for values of such rows."""
    if not block:
        return values
    values = e.op("Reshape", values, e.ints(*[0] * lead, -1))
    if k == GROWING:
        return e.op("Slice", values, e.ints(0), e.op("Shape", rows, start=-1), e.ints(-1))
    return e.op("Slice", values, e.ints(0), e.ints(int(k)), e.ints(-1)) if int(k) % block else values


def _counts(k: int, block: int) -> np.ndarray:
    """How many numbers there are in each group, the last of which may be filled up."""
    whole = np.minimum(k - np.arange(0, k, block or k), block or k)
    return np.asarray(whole[:, None] if block else whole, np.float32)


@record
class Units:
    """What codes stand for before their scales, an element's numbers or levels above a zero; names of tensors."""

    numbers: str
    scale: str
    zero: str | None = None

    def values(self, e: Emitter) -> str:
        above = self.numbers if self.zero is None else e.op("Sub", self.numbers, self.zero)
        return e.op("Mul", above, self.scale)


def units(e: Emitter, x: str, row: Format, affine: bool, k: Dim, block: int) -> Units:
    """The nearest numbers of a format, each group along the last axis under its own scale."""
    if affine:
        return _affine(e, x, row)
    largest = e.op("ReduceMax", e.op("Abs", x), e.ints(-1), keepdims=1)
    if row.scale == "e8m0":
        scale = _power(e, largest, row.element.top)
    elif row.fit == "mean":
        total = e.op("ReduceSum", e.op("Abs", x), e.ints(-1), keepdims=1)
        scale = e.op("Max", e.op("Div", total, e.const(_counts(int(k), block))), e.const(LEAST))
    else:
        scale = e.op("Max", e.op("Div", largest, e.const(np.float32(row.element.largest))), e.const(LEAST))
    return Units(grid(e, e.op("Div", x, scale), row.element), scale)


def _affine(e: Emitter, x: str, row: Format) -> Units:
    top, none = e.const(np.float32(2**row.bits - 1)), e.const(np.float32(0))
    low = e.op("Min", e.op("ReduceMin", x, e.ints(-1), keepdims=1), none)
    high = e.op("Max", e.op("ReduceMax", x, e.ints(-1), keepdims=1), none)
    scale = e.op("Max", e.op("Div", e.op("Sub", high, low), top), e.const(LEAST))
    zero = e.op("Clip", e.op("Round", e.op("Div", e.op("Neg", low), scale)), none, top)
    return _levels(e, x, scale, zero, top)


def _levels(e: Emitter, x: str, scale: str, zero: str, top: str) -> Units:
    """The nearest of the levels 0, 1, ..., top above a zero."""
    levels = e.op("Clip", e.op("Round", e.op("Add", e.op("Div", x, scale), zero)), e.const(np.float32(0)), top)
    return Units(levels, scale, zero)


def grid(e: Emitter, x: str, element: Element) -> str:
    """The nearest of an element's numbers."""
    top = e.const(np.float32(element.largest))
    x = e.op("Clip", x, e.op("Neg", top), top)
    step = e.const(np.float32(element.unit))
    if element.exponent:
        low = 1 - element.bias
        steps = np.ldexp(np.ones(element.top - low + 1, np.float32), np.arange(low, element.top + 1) - element.mantissa)
        size = e.op("Max", e.op("Abs", x), e.const(np.float32(2.0**low)))
        step = e.op("Gather", e.const(steps), e.op("Sub", exponent(e, size), e.const(np.int32(low))))
    return e.op("Mul", e.op("Round", e.op("Div", x, step)), step)


def exponent(e: Emitter, x: str) -> str:
    """floor(log2 x), int32; next to a power of two it may be one off."""
    power = e.op("Floor", e.op("Mul", e.op("Log", x), e.const(np.float32(1 / np.log(2)))))
    return e.op("Cast", power, to=TensorProto.INT32)


def _power(e: Emitter, x: str, top: int) -> str:
    """The largest power of two up to x, over 2^top. The logarithm is corrected, so that the power is exact."""
    powers = np.ldexp(np.ones(MOST_POWER - NORMAL + 1, np.float32), np.arange(NORMAL, MOST_POWER + 1))
    index = e.op("Sub", exponent(e, e.op("Max", x, e.const(powers[0]))), e.const(np.int32(NORMAL)))
    index = e.op("Clip", index, e.const(np.int32(0)), e.const(np.int32(len(powers) - 1)))
    found = e.op("Gather", e.const(powers), index)
    half, twice = e.op("Mul", found, e.const(np.float32(0.5))), e.op("Mul", found, e.const(np.float32(2)))
    found = e.op("Where", e.op("Less", x, found), half, e.op("Where", e.op("GreaterOrEqual", x, twice), twice, found))
    least = e.const(np.ldexp(np.float32(1), -MOST_POWER))
    return e.op("Max", e.op("Mul", found, e.const(np.float32(2.0**-top))), least)
