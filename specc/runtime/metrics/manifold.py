"""Precision and recall: do samples lie where the data lie, and do they cover it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specc.record import record
from specc.runtime.metrics.distances import ROWS, pair, squared_distances

Array = NDArray[np.float64]


@record(kw_only=True)
class PrecisionRecall:
    """Shares in [0, 1]: of samples inside the real manifold, and of real examples inside the samples' manifold."""

    precision: float
    recall: float


def precision_recall(real: ArrayLike, other: ArrayLike, k: int = 3) -> PrecisionRecall:
    """Precision and recall of features other (M, ...) against features real (N, ...), flattened to vectors.

    The manifold of a set is the union of balls around its points that reach to the k-th nearest of its other points.
    Both values grow with k and depend on N and M: compare at equal numbers.
    Source: Tuomas Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019.
    """
    real, other = pair(real, other, least=k + 1)
    if k < 1:
        raise ValueError(f"the k-th neighbour needs k of at least 1, not {k}")
    return PrecisionRecall(precision=_covered(real, other, k), recall=_covered(other, real, k))


def _covered(points: Array, queries: Array, k: int) -> float:
    """The share of queries inside the manifold of points."""
    radii = np.concatenate(
        [
            np.partition(squared_distances(points[start : start + ROWS], points), k, axis=1)[:, k]  # the 0-th is the point
            for start in range(0, len(points), ROWS)
        ]
    )
    inside = [
        (squared_distances(queries[start : start + ROWS], points) <= radii).any(axis=1)
        for start in range(0, len(queries), ROWS)
    ]
    return float(np.concatenate(inside).mean())
