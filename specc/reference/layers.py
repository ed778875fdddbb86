"""The oracle's linear maps and layers: NumPy, slow, obvious.

Notation: b examples, c channels, o output channels, g groups, *s spatial dimensions, *k kernel dimensions. A layer over
channels takes one example (c, *s) or a batch (b, c, *s).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specc.ir.coding import BLOCK
from specc.ir.types import per_dimension
from specc.reference.rounding import round_to

Array = np.ndarray
Sizes = int | tuple[int, ...]  # for all dimensions, or for each


def matmul(a: Array, b: Array) -> Array:
    return np.matmul(a, b)


def cholesky(a: Array) -> Array:
    """a: (..., n, n), symmetric and positive definite. Not a number where a matrix is not."""
    return _each(np.linalg.cholesky, a, np.nan)


def inv(a: Array) -> Array:
    """a: (..., n, n). Infinite where a matrix has no inverse."""
    return _each(np.linalg.inv, a, np.inf)


def _each(f: Callable[[Array], Array], a: Array, otherwise: float) -> Array:
    """f of each matrix, all at once unless one of them fails."""
    try:
        return f(a)
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full(a.shape, otherwise)
        return np.stack([_each(f, row, otherwise) for row in a])


def linear(x: Array, weight: Array, bias: Array | None = None, *, rounds: tuple[str, ...] = ()) -> Array:
    """x: (..., d), weight: (n, d), bias: (n). Returns (..., n)."""
    if rounds:
        weight, x = (round_to(v, format=name, axes=(-1,), block=BLOCK) for v, name in zip((weight, x), rounds, strict=False))
    out = np.matmul(x, weight.T)
    return out if bias is None else out + bias


def _steps(
    offset: tuple[int, ...], sizes: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[slice, ...]:
    """Where a kernel element meets the padded input, for every place of a window."""
    starts = [k * d for k, d in zip(offset, dilation, strict=True)]
    return tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, sizes, stride, strict=True))


def _per_channel(values: Array, spatial: int) -> Array:
    """(c,) against (..., c, *s)."""
    return values.reshape(-1, *(1,) * spatial)


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation: one matrix product for each element of the kernel. x: ([b,] c, *s), weight: (o, c / g, *k)."""
    spatial = weight.ndim - 2
    if x.ndim == spatial + 1:
        return conv(x[None], weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)[0]
    kernel = weight.shape[2:]
    stride, padding, dilation = (per_dimension(o, spatial) for o in (stride, padding, dilation))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    places = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    sizes = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in places)
    b, c, o = x.shape[0], x.shape[1], weight.shape[0]
    out = np.zeros((b, groups, o // groups, int(np.prod(sizes))), x.dtype)
    for offset in np.ndindex(*kernel):
        window = x[(slice(None), slice(None), *_steps(offset, sizes, stride, dilation))]
        tap = weight[(slice(None), slice(None), *offset)].reshape(groups, o // groups, c // groups)
        out += np.matmul(tap, window.reshape(b, groups, c // groups, -1))
    out = out.reshape(b, o, *sizes)
    return out if bias is None else out + _per_channel(bias, spatial)


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    output_padding: Sizes = 0,
) -> Array:
    """Every input element adds a scaled kernel to the output. x: ([b,] o, *s), weight: (o, c / g, *k)."""
    spatial = weight.ndim - 2
    if x.ndim == spatial + 1:
        window = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
        return conv_transpose(x[None], weight, bias, groups=groups, **window)[0]
    kernel, sizes = weight.shape[2:], x.shape[2:]
    stride, padding, dilation, rest = (per_dimension(o, spatial) for o in (stride, padding, dilation, output_padding))
    b, o, per_group = x.shape[0], x.shape[1], weight.shape[1]
    places = zip(sizes, kernel, stride, dilation, rest, strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 + r for n, k, s, d, r in places]
    out = np.zeros((b, groups * per_group, *full), x.dtype)
    rows = x.reshape(b, groups, o // groups, -1)
    for offset in np.ndindex(*kernel):
        tap = weight[(slice(None), slice(None), *offset)].reshape(groups, o // groups, per_group)
        part = np.matmul(np.swapaxes(tap, -1, -2), rows).reshape(b, groups * per_group, *sizes)
        out[(slice(None), slice(None), *_steps(offset, sizes, stride, dilation))] += part
    out = out[(slice(None), slice(None), *(slice(p, n - p) for n, p in zip(full, padding, strict=True)))]
    return out if bias is None else out + _per_channel(bias, spatial)


def avg_pool(x: Array, *, window: int, spatial: int) -> Array:
    """x: (..., *s) with every s a multiple of `window`. Returns (..., *(s / window))."""
    lead = x.ndim - spatial
    split = [part for n in x.shape[lead:] for part in (n // window, window)]
    return x.reshape(*x.shape[:lead], *split).mean(axis=tuple(lead + 1 + 2 * i for i in range(spatial)))


def resize(x: Array, *, factor: int, spatial: int) -> Array:
    """x: (..., *s). Returns (..., *(s * factor)), each element repeated."""
    for axis in range(x.ndim - spatial, x.ndim):
        x = np.repeat(x, factor, axis=axis)
    return x


def layernorm(x: Array, scale: Array | None = None, bias: Array | None = None, *, eps: float) -> Array:
    """x: (..., d), scale, bias: (d)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    out = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    out = out if scale is None else out * scale
    return out if bias is None else out + bias


def rmsnorm(x: Array, scale: Array | None = None, *, eps: float) -> Array:
    """x: (..., d), scale: (d)."""
    out = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return out if scale is None else out * scale


def groupnorm(
    x: Array, scale: Array | None = None, bias: Array | None = None, *, groups: int, eps: float, spatial: int
) -> Array:
    """x: ([b,] c, *s) with `spatial` dimensions in s; scale, bias: (c)."""
    lead = x.shape[: x.ndim - spatial - 1]
    rows = x.reshape(*lead, groups, -1)  # ([b,] g, everything in a group)
    centred = rows - rows.mean(axis=-1, keepdims=True)
    out = (centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)).reshape(x.shape)
    out = out if scale is None else out * _per_channel(scale, spatial)
    return out if bias is None else out + _per_channel(bias, spatial)


def attention(q: Array, k: Array, v: Array, *, causal: bool = False, format: str = "", **rounds: Any) -> Array:
    """q: (..., h, n, d), k: (..., h, m, d), v: (..., h, m, e). Returns (..., h, n, e). Causal: query i sees keys 0 to i."""
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) / np.sqrt(q.shape[-1]).astype(q.dtype)
    if causal:
        n, m = scores.shape[-2:]
        scores = np.where(np.arange(m) <= np.arange(n)[:, None], scores, -np.inf).astype(q.dtype)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return np.matmul(round_to(weights, format=format, axes=(-1,), **rounds) if format else weights, v)
