"""Of sequences of symbols: how far the frequencies of symbols, and of pairs of neighbours, are from those of the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.integer]


def unigram_tv(real: Codes, samples: Codes) -> float:
    """Total variation distance of the laws of a symbol. real (N, n), samples (M, n): integers from 0."""
    return _distance(real.reshape(-1), samples.reshape(-1))


def bigram_tv(real: Codes, samples: Codes) -> float:
    """Total variation distance of the laws of two neighbours. real (N, n), samples (M, n) with n of 2 or more."""
    if real.ndim != 2 or real.shape[1] < 2:
        raise ValueError(f"pairs of neighbours need sequences (N, n) with n of 2 or more, not {real.shape}")
    values = 1 + max(int(real.max()), int(samples.max()))
    return _distance(*((v[:, :-1] * values + v[:, 1:]).reshape(-1) for v in (real, samples)))


def _distance(a: Codes, b: Codes) -> float:
    values = 1 + max(int(a.max()), int(b.max()))
    p, q = (np.bincount(v, minlength=values) / len(v) for v in (a, b))
    return float(np.abs(p - q).sum() / 2)
