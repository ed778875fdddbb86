"""Distances between two sets of samples, straight from the samples.

Arguments `a` (N, ...) and `b` (M, ...) are compared as vectors: all axes but the first are flattened. Computed in double.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ROWS = 1024  # of a distance matrix held at once


def vectors(a: ArrayLike, name: str = "samples", least: int = 1) -> Array:
    """(N, D) double from (N, ...); a ValueError when empty, too few or not finite."""
    values = np.asarray(a, dtype=np.float64)
    values = values.reshape(len(values), -1) if values.ndim > 1 and values.size else values.reshape(-1, 1)
    if len(values) < least:
        raise ValueError(f"{name}: {len(values)} given, at least {least} needed")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: row {np.argwhere(~np.isfinite(values))[0][0]} is not finite")
    return values


def pair(a: ArrayLike, b: ArrayLike, least: int = 1) -> tuple[Array, Array]:
    """Both sets as vectors of one length."""
    first, second = vectors(a, "the first set", least), vectors(b, "the second set", least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the sets have {first.shape[1]} and {second.shape[1]} numbers an example")
    return first, second


def squared_distances(a: Array, b: Array) -> Array:
    """(N, M) squared Euclidean distances of the rows of (N, D) and (M, D), never negative."""
    centre = b.mean(axis=0)  # keeps the cancellation small when the sets are far from the origin
    a, b = a - centre, b - centre
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)


def sliced_wasserstein(a: ArrayLike, b: ArrayLike, projections: int = 256, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance: the root mean square, over random directions, of the W2 of the projections.

    The sets may differ in size; each one-dimensional distance is exact. In units of the data: for a shift by m of D-dimensional
    samples it is |m| / sqrt(D).
    Source: Nicolas Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", 2015.
    """
    a, b = pair(a, b)
    directions = np.random.default_rng(seed).standard_normal((a.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    first, second = np.sort(a @ directions, axis=0), np.sort(b @ directions, axis=0)  # (N, projections), (M, projections)
    n, m = len(a), len(b)
    if n == m:
        return float(np.sqrt(((first - second) ** 2).mean()))
    # Quantile functions are steps: constant between the merged multiples of 1/N and 1/M, exact in units of 1/(N M).
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    width = np.diff(edges) / (n * m)
    gaps = first[edges[:-1] // m] - second[edges[:-1] // n]
    return float(np.sqrt((width @ gaps**2).mean()))


def exact_wasserstein2(a: ArrayLike, b: ArrayLike) -> float:
    """2-Wasserstein distance of two sets of one size N by optimal assignment, in units of the data; time grows as N^3.

    Source: Gabriel Peyre and Marco Cuturi, "Computational Optimal Transport", 2019, section 2.
    """
    from scipy.optimize import linear_sum_assignment

    a, b = pair(a, b)
    if len(a) != len(b):
        raise ValueError(f"exact assignment needs two sets of one size, not {len(a)} and {len(b)}")
    row, column = linear_sum_assignment(squared_distances(a, b))
    return float(np.sqrt(((a[row] - b[column]) ** 2).sum(axis=1).mean()))


def energy_distance(a: ArrayLike, b: ArrayLike, unbiased: bool = True) -> float:
    """Squared energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|, in units of the data; zero for equal laws.

    Plain, it is never negative; unbiased (pairs of a sample with itself left out) it scatters around zero for equal laws.
    Source: Gabor Szekely and Maria Rizzo, "Energy statistics: A class of statistics based on distances", 2013.
    """
    a, b = pair(a, b, least=2)
    across = _sum_of_distances(a, b) / (len(a) * len(b))
    within = [_sum_of_distances(v, v) / (len(v) * (len(v) - unbiased)) for v in (a, b)]
    return 2 * across - within[0] - within[1]


def _sum_of_distances(a: Array, b: Array) -> float:
    total = 0.0
    for start in range(0, len(a), ROWS):
        roots = np.sqrt(squared_distances(a[start : start + ROWS], b))
        if a is b:
            roots[np.arange(len(roots)), start + np.arange(len(roots))] = 0  # not exactly zero after cancellation
        total += float(roots.sum())
    return total


def mmd(a: ArrayLike, b: ArrayLike, bandwidths: Sequence[float] | None = None) -> float:
    """Squared maximum mean discrepancy, unbiased, under the mean of normal kernels exp(-d^2 / (2 bandwidth^2)).

    Between about 0 (equal laws; it may fall below) and 2. Without bandwidths: the median distance of up to 2000 pooled samples.
    Source: Arthur Gretton et al., "A Kernel Two-Sample Test", 2012.
    """
    a, b = pair(a, b, least=2)
    widths = np.asarray(bandwidths if bandwidths is not None else [median_distance(a, b)], dtype=np.float64)
    if len(widths) == 0 or not (widths > 0).all():
        raise ValueError(f"bandwidths must be positive, not {widths.tolist()}")
    n, m = len(a), len(b)
    within_a, within_b, across = (_sum_of_kernels(u, v, widths) for u, v in ((a, a), (b, b), (a, b)))
    return (within_a - n) / (n * (n - 1)) + (within_b - m) / (m * (m - 1)) - 2 * across / (n * m)


def median_distance(a: ArrayLike, b: ArrayLike, most: int = 2000) -> float:
    """The median distance between distinct samples of both sets together, evenly thinned to `most`."""
    pooled = np.concatenate(pair(a, b))
    pooled = pooled[:: -(-len(pooled) // most)]
    distances = squared_distances(pooled, pooled)[np.triu_indices(len(pooled), k=1)]
    median = float(np.sqrt(np.median(distances)))
    if median == 0:
        raise ValueError("most samples are equal: give bandwidths")
    return median


def _sum_of_kernels(a: Array, b: Array, widths: Array) -> float:
    total = 0.0
    for start in range(0, len(a), ROWS):
        squares = squared_distances(a[start : start + ROWS], b)
        if a is b:
            squares[np.arange(len(squares)), start + np.arange(len(squares))] = 0
        total += sum(float(np.exp(squares / (-2 * width**2)).sum()) for width in widths)
    return total / len(widths)
