"""Rounding each number to its nearest code."""

from __future__ import annotations

import numpy as np

from specc.ir.coding import encode
from specc.ir.methods.grid import NONE, Grid, Rounded, Rounding


def nearest(weight: np.ndarray, grid: Grid, *, kept: np.ndarray = NONE) -> Rounded:
    """Round a weight (n, k); columns `kept` stay as they are, and no scale goes by them."""
    n, k = weight.shape
    if not kept.size:
        codes = encode(weight, grid.format, grid.granularity, grid.block, grid.affine)
        return Rounded(codes, kept, np.zeros((n, 0), np.float32))
    made = Rounding((n, k), grid, kept)
    for q in range(k):
        if made.begins(q):
            made.fit(weight, q)
        if made.whole[q]:
            made.column(weight[:, q], q)
    return made.done(weight)
