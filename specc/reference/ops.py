"""The reference column of the table of ops: each op in NumPy, slow and obvious.

`REFERENCE[op](*operands, **attributes)` takes and gives plain arrays, and means the same for one example and for whole
arrays. Floats keep the width of the operands (float64 where there are none); `as_kind` narrows them. Attributes may not hold
the symbolic batch `"B"`: `bind` replaces it. Draws and control flow need an environment: they stand in `machine.CONTROL`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from specc.ir.elementwise import ELEMENTWISE, as_float
from specc.ir.ops import Op
from specc.ir.types import BATCH, GROWING, DType
from specc.reference import layers
from specc.reference.rounding import round_to

Array = np.ndarray


def as_kind(x: Any, kind: DType, float_type: Any = np.float64) -> Array:
    """An array of this kind of number: floats of the given width, ints of 64 bits."""
    match kind:
        case DType.FLOAT:
            return np.asarray(x, dtype=float_type)
        case DType.INT:
            return np.asarray(x, dtype=np.int64)
        case DType.BOOL:
            return np.asarray(x, dtype=np.bool_)


def bind(attrs: dict[str, Any], batch: int | None, grown: int = 0) -> dict[str, Any]:
    """Attributes with the size of the batch where they say `"B"`, and of what grows where they say `"T"`."""
    bound, sizes = dict(attrs), {GROWING: grown} if batch is None else {BATCH: batch, GROWING: grown}
    if bound.get("n") in sizes:
        bound["n"] = sizes[bound["n"]]
    if "shape" in bound:
        bound["shape"] = tuple(sizes.get(d, d) for d in bound["shape"])
    return bound


# Values


def const(*, value: Any, shape: tuple[int, ...] = (), dtype: str = "float") -> Array:
    """One number fills the shape; a tuple lists the elements, row-major."""
    kind = DType(dtype)
    if not isinstance(value, tuple):
        return np.broadcast_to(as_kind(value, kind), shape)
    return as_kind(value, kind).reshape(shape)


def iota(*, n: int) -> Array:
    return np.arange(n, dtype=np.int64)


# One number to one number


def _of_float(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The function on floats of the operand's width, whatever comes in."""

    def apply(x: Array) -> Array:
        x = as_float(x)
        return np.asarray(f(x), dtype=x.dtype)

    apply.__name__ = getattr(f, "__name__", "apply")
    return apply


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf
    return math.lgamma(x)


_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _erfinv(x: Array) -> Array:
    """A closed formula good to 2e-3 (Sergei Winitzki, 2008), then Newton steps on erfc, which is exact in the tails."""
    x = x.astype(np.float64)
    size = np.abs(x)
    inside = np.minimum(size, 1 - 2.0**-53)
    log = np.log1p(-inside * inside)
    t = 2 / (math.pi * 0.147) + log / 2
    y = np.sqrt(np.maximum(np.sqrt(t * t - log / 0.147) - t, 0))
    for _ in range(4):
        error = np.where(inside < 0.5, _erf(y) - inside, (1 - inside) - _erfc(y))
        step = error * np.exp(y * y) * (math.sqrt(math.pi) / 2)
        y = y - step / (1 + y * step)
    return np.sign(x) * np.where(size == 1, np.inf, np.where(size > 1, np.nan, y))


def sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def gelu(x: Array) -> Array:
    return x * _erfc(-x / math.sqrt(2)) / 2


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def cast(x: Array, *, dtype: str) -> Array:
    """Floats to ints are cut towards 0; everything but 0 is true."""
    return as_kind(x, DType(dtype))


def identity(x: Array) -> Array:
    return x


# Reductions and scans


def _over(f: Callable[..., Array]) -> Callable[..., Array]:
    """A NumPy reduction; over no axes at all, x itself."""

    def apply(x: Array, *, axes: tuple[int, ...]) -> Array:
        return f(x, axis=tuple(axes)) if axes else x

    apply.__name__ = f.__name__
    return apply


def argmax(x: Array, *, axis: int) -> Array:
    return np.argmax(x, axis=axis)


def logsumexp(x: Array, *, axes: tuple[int, ...]) -> Array:
    if not axes:
        return x
    top = np.max(x, axis=tuple(axes), keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    return np.log(np.sum(np.exp(x - top), axis=tuple(axes))) + np.squeeze(top, axis=tuple(axes))


def softmax(x: Array, *, axis: int) -> Array:
    top = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return top / np.sum(top, axis=axis, keepdims=True)


def cumsum(x: Array, *, axis: int) -> Array:
    return np.cumsum(x, axis=axis)


def sort(x: Array, *, axis: int) -> Array:
    return np.sort(x, axis=axis)


# Shapes


def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    return np.reshape(x, shape)


def transpose(x: Array, *, perm: tuple[int, ...]) -> Array:
    return np.transpose(x, perm)


def expand(x: Array, *, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, shape)


def slice_(x: Array, *, axis: int, start: int, stop: int, step: int = 1) -> Array:
    picked = [slice(None)] * x.ndim
    picked[axis] = slice(start, stop, step)
    return x[tuple(picked)]


def concat(*parts: Array, axis: int) -> Array:
    return np.concatenate(parts, axis=axis)


def pad(x: Array, *, pads: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    return np.pad(x, pads, constant_values=value)


def flip(x: Array, *, axis: int) -> Array:
    return np.flip(x, axis=axis)


def _inside(index: Array, n: int) -> None:
    if index.size and not (index.min() >= 0 and index.max() < n):
        raise IndexError(f"indices from {index.min()} to {index.max()} are not all among 0 to {n - 1}")


def take(x: Array, index: Array, *, axis: int, batch: int = 0) -> Array:
    axis %= x.ndim
    if batch:
        return np.stack([take(a, i, axis=axis - 1, batch=batch - 1) for a, i in zip(x, index, strict=True)])
    _inside(index, x.shape[axis])
    return np.take(x, index, axis=axis)


def scatter_add(x: Array, index: Array, *, axis: int, n: int, batch: int = 0) -> Array:
    """x has the index's dimensions at `axis`; each element is added to row index[...] of n rows of zeros."""
    if batch:
        return np.stack([scatter_add(a, i, axis=axis - 1, n=n, batch=batch - 1) for a, i in zip(x, index, strict=True)])
    _inside(index, n)
    out = np.zeros((n, *x.shape[:axis], *x.shape[axis + index.ndim :]), x.dtype)
    rows = np.moveaxis(x, range(axis, axis + index.ndim), range(index.ndim))
    for place in np.ndindex(*index.shape):
        out[index[place]] += rows[place]
    return np.moveaxis(out, 0, axis)


# Batch: operands that vary by example are stacked, (B, *shape)


def spread(x: Array, like: Array) -> Array:
    return np.broadcast_to(x, (len(like), *x.shape))


def batch_size(like: Array) -> Array:
    return np.asarray(len(like), dtype=np.int64)


def batch_index(like: Array) -> Array:
    return np.arange(len(like), dtype=np.int64)


def batch_sum(x: Array) -> Array:
    return np.sum(x, axis=0)


def batch_mean(x: Array) -> Array:
    return np.mean(x, axis=0)


def batch_take(x: Array, index: Array) -> Array:
    _inside(index, len(x))
    return x[index]


def batch_cost(a: Array, b: Array, *, cost: str = "sqdist") -> Array:
    """Of example i of a and example j of b: (B, B)."""
    difference = a.reshape(len(a), 1, -1) - b.reshape(1, len(b), -1)
    squared = np.sum(difference**2, axis=-1)
    match cost:
        case "sqdist":
            return squared
        case "dist":
            return np.sqrt(squared)
    raise ValueError(f"the cost must be sqdist or dist, not {cost}")


REFERENCE: dict[Op, Callable[..., Array]] = {
    Op.CONST: const,
    Op.IOTA: iota,
    **ELEMENTWISE,
    Op.SIGN: np.sign,
    Op.EXP: _of_float(np.exp),
    Op.EXPM1: _of_float(np.expm1),
    Op.LOG: _of_float(np.log),
    Op.LOG1P: _of_float(np.log1p),
    Op.SQRT: _of_float(np.sqrt),
    Op.SIN: _of_float(np.sin),
    Op.COS: _of_float(np.cos),
    Op.TAN: _of_float(np.tan),
    Op.ASIN: _of_float(np.arcsin),
    Op.ACOS: _of_float(np.arccos),
    Op.ATAN: _of_float(np.arctan),
    Op.TANH: _of_float(np.tanh),
    Op.SIGMOID: _of_float(sigmoid),
    Op.SOFTPLUS: _of_float(softplus),
    Op.ERF: _of_float(_erf),
    Op.ERFINV: _of_float(_erfinv),
    Op.LGAMMA: _of_float(np.vectorize(_lgamma, otypes=[np.float64])),
    Op.FLOOR: _of_float(np.floor),
    Op.CEIL: _of_float(np.ceil),
    Op.ROUND: _of_float(np.rint),
    Op.CAST: cast,
    Op.SILU: _of_float(silu),
    Op.GELU: _of_float(gelu),
    Op.RELU: _of_float(relu),
    Op.SUM: _over(np.sum),
    Op.MEAN: _over(np.mean),
    Op.PROD: _over(np.prod),
    Op.AMAX: _over(np.amax),
    Op.AMIN: _over(np.amin),
    Op.ARGMAX: argmax,
    Op.LOGSUMEXP: logsumexp,
    Op.SOFTMAX: softmax,
    Op.CUMSUM: cumsum,
    Op.SORT: sort,
    Op.RESHAPE: reshape,
    Op.TRANSPOSE: transpose,
    Op.EXPAND: expand,
    Op.SLICE: slice_,
    Op.CONCAT: concat,
    Op.PAD: pad,
    Op.FLIP: flip,
    Op.TAKE: take,
    Op.SCATTER_ADD: scatter_add,
    Op.ROUND_TO: round_to,
    Op.MATMUL: layers.matmul,
    Op.CHOLESKY: layers.cholesky,
    Op.INV: layers.inv,
    Op.LINEAR: layers.linear,
    Op.CONV: layers.conv,
    Op.CONV_TRANSPOSE: layers.conv_transpose,
    Op.AVG_POOL: layers.avg_pool,
    Op.RESIZE: layers.resize,
    Op.LAYERNORM: layers.layernorm,
    Op.GROUPNORM: layers.groupnorm,
    Op.RMSNORM: layers.rmsnorm,
    Op.ATTENTION: layers.attention,
    Op.STOP: identity,
    Op.SPREAD: spread,
    Op.BATCH_SIZE: batch_size,
    Op.BATCH_INDEX: batch_index,
    Op.BATCH_SUM: batch_sum,
    Op.BATCH_MEAN: batch_mean,
    Op.BATCH_TAKE: batch_take,
    Op.BATCH_GATHER: identity,
    Op.BATCH_SCATTER: identity,
    Op.BATCH_COST: batch_cost,
}
