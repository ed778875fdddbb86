"""ROUND_TO by standard ops: the groups that share a scale become the last dimension."""

from __future__ import annotations

import math

import numpy as np
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.rounding import grid, power

from specc.ir.coding import LEAST
from specc.ir.formats import FORMATS, Format
from specc.ir.program import Node
from specc.ir.types import DType, Shape


def round_to(e: Emitter, node: Node) -> str:
    (x,) = e.names(node, DType.FLOAT)
    shape, block = node.out.type.shape, node.get("block", 0)
    rank = len(shape)
    axes = sorted(i % rank for i in node["axes"])
    order = [i for i in range(rank) if i not in axes] + axes
    k = math.prod(int(shape[i]) for i in axes)
    lead: Shape = tuple(shape[i] for i in order[: rank - len(axes)])
    rows = _reshaped(e, _turned(e, x, order), (*lead, k))
    rest = -k % block if block else 0
    if rest:
        rows = e.op("Pad", rows, e.ints(0, rest), "", e.ints(-1))
    if block:
        rows = e.op("Reshape", rows, e.dims((*lead, (k + rest) // block, block), infer=True))
    values = _nearest(e, rows, FORMATS[node["format"]], node.get("affine", False), _counts(k, block))
    if block:
        values = e.op("Reshape", values, e.dims((*lead, k + rest), infer=True))
    if rest:
        values = e.op("Slice", values, e.ints(0), e.ints(k), e.ints(-1))
    return _turned(e, _reshaped(e, values, (*lead, *(shape[i] for i in axes))), [order.index(i) for i in range(rank)])


def _turned(e: Emitter, x: str, perm: list[int]) -> str:
    return x if perm == sorted(perm) else e.op("Transpose", x, perm=perm)


def _reshaped(e: Emitter, x: str, shape: Shape) -> str:
    return e.op("Reshape", x, e.dims(shape, infer=True))


def _counts(k: int, block: int) -> np.ndarray:
    """How many numbers there are in each group, the last of which may be filled up."""
    whole = np.minimum(k - np.arange(0, k, block or k), block or k)
    return np.asarray(whole[:, None] if block else whole, np.float32)


def _nearest(e: Emitter, x: str, row: Format, affine: bool, counts: np.ndarray) -> str:
    """The nearest numbers of a format, each group along the last axis under its own scale."""
    if affine:
        return _affine(e, x, row)
    largest = e.op("ReduceMax", e.op("Abs", x), e.ints(-1), keepdims=1)
    if row.scale == "e8m0":
        scale = power(e, largest, row.element.top)
    elif row.fit == "mean":
        total = e.op("ReduceSum", e.op("Abs", x), e.ints(-1), keepdims=1)
        scale = e.op("Max", e.op("Div", total, e.const(counts)), e.const(LEAST))
    else:
        scale = e.op("Max", e.op("Div", largest, e.const(np.float32(row.element.largest))), e.const(LEAST))
    return e.op("Mul", grid(e, e.op("Div", x, scale), row.element), scale)


def _affine(e: Emitter, x: str, row: Format) -> str:
    top, none = e.const(np.float32(2**row.bits - 1)), e.const(np.float32(0))
    low = e.op("Min", e.op("ReduceMin", x, e.ints(-1), keepdims=1), none)
    high = e.op("Max", e.op("ReduceMax", x, e.ints(-1), keepdims=1), none)
    scale = e.op("Max", e.op("Div", e.op("Sub", high, low), top), e.const(LEAST))
    zero = e.op("Clip", e.op("Round", e.op("Div", e.op("Neg", low), scale)), none, top)
    codes = e.op("Clip", e.op("Round", e.op("Add", e.op("Div", x, scale), zero)), none, top)
    return e.op("Mul", e.op("Sub", codes, zero), scale)
