"""Functions of the host's that a spec declares with `extern`: here, for the oracle.

Each takes whole arrays (what varies by example is stacked, (B, *shape)) and its options as keywords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def assign(cost: Array, *, solver: str = "exact", within: int | None = None) -> Array:
    """Partners for everyone. cost: (B, B). Returns the column of each row, (B,) int.

    exact: the least total cost. stable: no row and column that both prefer each other to their partners. within: partners
    come from the same group of so many consecutive rows and columns.
    """
    if within is not None and within < len(cost):
        starts = range(0, len(cost), within)
        return np.concatenate([s + assign(cost[s : s + within, s : s + within], solver=solver) for s in starts])
    match solver:
        case "exact":
            from scipy.optimize import linear_sum_assignment  # optional, and slow to import

            return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)
        case "stable":
            return _stable(cost)
    raise ValueError(f"the solver must be exact or stable, not {solver}")


def _stable(cost: Array) -> Array:
    """Rows propose in the order of their costs, columns keep the cheapest row.

    David Gale and Lloyd Shapley, "College admissions and the stability of marriage", 1962.
    """
    n = len(cost)
    choices = np.argsort(cost, axis=1, kind="stable")
    asked = [0] * n
    row_of: dict[int, int] = {}
    free = list(range(n - 1, -1, -1))
    while free:
        row = free.pop()
        column = int(choices[row, asked[row]])
        asked[row] += 1
        rival = row_of.get(column)
        if rival is None or (cost[row, column], row) < (cost[rival, column], rival):
            row_of[column] = row
            if rival is not None:
                free.append(rival)
        else:
            free.append(row)
    out = np.zeros(n, dtype=np.int64)
    for column, row in row_of.items():
        out[row] = column
    return out


EXTERNS: dict[str, Callable[..., Any]] = {"assign": assign}
