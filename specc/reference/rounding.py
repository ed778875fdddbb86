"""Numbers rounded to a format by the quantiser's own arithmetic."""

from __future__ import annotations

import numpy as np

from specc.ir.coding import encode

Array = np.ndarray


def round_to(x: Array, *, format: str, axes: tuple[int, ...], block: int = 0, affine: bool = False) -> Array:
    """The nearest numbers of a format under scales from x, which elements along axes share, or each `block` of them."""
    order = [i for i in range(x.ndim) if i not in {a % x.ndim for a in axes}] + sorted(a % x.ndim for a in axes)
    moved = np.transpose(x, order)
    k = int(np.prod(moved.shape[x.ndim - len(axes) :]))
    codes = encode(moved.reshape(-1, k), format, "block" if block else "channel", block or None, affine)
    back = np.transpose(codes.values().reshape(moved.shape), np.argsort(order))
    return np.asarray(back, x.dtype if x.dtype.kind == "f" else np.float64)
