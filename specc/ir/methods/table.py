"""The methods of rounding weights: one table for the checker, the quantiser and every backend.

A method takes a weight (n, k) whose rows are results, what calibration saw of the k numbers that it multiplies, and a grid.
Whatever the method, `outliers` columns may stay as they are: those whose inputs are largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from specc.ir.methods.gptq import gptq
from specc.ir.methods.grid import NONE, Grid, Rounded
from specc.ir.methods.nearest import nearest
from specc.record import record


@record(kw_only=True)
class Seen:
    """Of the operand of a layer: its second moments (k, k), on any scale, and the largest absolute values (k,)."""

    second: np.ndarray
    largest: np.ndarray


@record(kw_only=True)
class Method:
    """A row of the table. needs: whether the second moments of the layer's operand must be known."""

    run: Callable[..., Rounded]
    needs: bool = False
    knobs: Mapping[str, Any] = field(default_factory=dict)  # with their defaults
    doc: str = ""


def _nearest(weight: np.ndarray, seen: Seen | None, grid: Grid, kept: np.ndarray) -> Rounded:
    return nearest(weight, grid, kept=kept)


def _gptq(
    weight: np.ndarray, seen: Seen | None, grid: Grid, kept: np.ndarray, damp: float, act_order: bool, sequential: bool
) -> Rounded:
    assert seen is not None
    return gptq(weight, seen.second, grid, damp=damp, act_order=act_order, kept=kept)


METHODS: dict[str, Method] = {
    "nearest": Method(run=_nearest, doc="each number to its nearest code; needs nothing but the weight"),
    "gptq": Method(
        run=_gptq,
        needs=True,
        knobs={"damp": 0.01, "act_order": False, "sequential": True},
        doc="columns in turn, later ones making up for what is lost of earlier ones; needs the inputs' second moments. "
        "`sequential`: inputs of the network whose earlier layers are rounded already",
    ),
}


def needs(method: str, outliers: int) -> bool:
    """Whether calibration has to see the layer's operand."""
    return METHODS[method].needs or outliers > 0


def round_weight(
    weight: np.ndarray, seen: Seen | None, grid: Grid, method: str = "nearest", outliers: int = 0, **knobs: Any
) -> Rounded:
    """Round a weight (n, k). Raises ValueError for numbers that are not finite."""
    kept = NONE
    if outliers:
        assert seen is not None
        kept = np.sort(np.argsort(-seen.largest, kind="stable")[:outliers])
    row = METHODS[method]
    return row.run(weight, seen, grid, kept, **{**row.knobs, **knobs})
