"""Rounding each number to its nearest code."""

from __future__ import annotations

import numpy as np

from specc.ir.methods.grid import NONE, Grid, Rounded, Rounding


def nearest(weight: np.ndarray, grid: Grid, *, kept: np.ndarray = NONE) -> Rounded:
    """Round a weight (n, k); columns `kept` stay as they are."""
    made = Rounding(weight, grid, kept)
    for q in np.flatnonzero(made.whole):
        if made.begins(q):
            made.fit(weight, q)
        made.column(weight[:, q], q)
    return made.done(weight)
