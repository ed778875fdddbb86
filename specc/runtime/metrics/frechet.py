"""Frechet distance of the normals fitted to two sets, in any feature space or on the principal axes of the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specc.runtime.metrics.distances import pair

Array = NDArray[np.float64]


def frechet(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Frechet distance between normals fitted to features a (N, ...) and b (M, ...), flattened to vectors.

    It falls with the number of samples: compare only values taken at the same N and M, and quote the value of two halves of
    the real data beside it.
    Source: Martin Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.
    """
    a, b = pair(a, b, least=2)
    return frechet_of_normals(a.mean(axis=0), np.cov(a.T, ddof=1), b.mean(axis=0), np.cov(b.T, ddof=1))


def frechet_of_normals(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Squared 2-Wasserstein distance |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of two normals in D dimensions.

    mean: (D,), cov: (D, D), may be singular.
    Source: D. C. Dowson and B. V. Landau, "The Frechet distance between multivariate normal distributions", 1982.
    """
    cov_a, cov_b = np.atleast_2d(cov_a).astype(np.float64), np.atleast_2d(cov_b).astype(np.float64)
    values, axes = np.linalg.eigh(cov_a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    # The trace of (A^1/2 B A^1/2)^1/2 is the sum of the singular values of B^1/2 A^1/2, accurate where a square root is not.
    values, axes = np.linalg.eigh(cov_b)
    other = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    overlap = np.linalg.svd(other @ root, compute_uv=False).sum()
    shift = np.sum((np.asarray(mean_a, dtype=np.float64) - np.asarray(mean_b, dtype=np.float64)) ** 2)
    return float(max(shift + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap, 0))


def pca_frechet(real: ArrayLike, other: ArrayLike, axes: int = 16) -> float:
    """Squared Frechet distance on the first principal axes of the real data, in units of the data; no network involved.

    real: (N, ...), other: (M, ...). All axes are used when there are fewer than asked for.
    """
    real, other = pair(real, other, least=2)
    centre = real.mean(axis=0)
    _, _, directions = np.linalg.svd(real - centre, full_matrices=False)
    directions = directions[:axes].T  # (D, axes)
    return frechet((real - centre) @ directions, (other - centre) @ directions)
