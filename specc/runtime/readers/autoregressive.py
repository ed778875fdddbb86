"""Stationary signals of an autoregressive process: each value is a sum of those before it, weighted, and of normal noise."""

from collections.abc import Sequence

import numpy as np

WARM = 500  # values before the first that is kept


def draw(
    n: int, rng: np.random.Generator, coefficients: Sequence[float] = (0.9,), length: int = 8, std: float = 0.43588989435406733
) -> dict[str, np.ndarray]:
    """x: (n, length, 1) float32. The coefficients begin with that of the value just before; `std` is that of the noise."""
    weights = np.asarray(coefficients, dtype=float)[::-1]
    x = np.zeros((n, len(weights) + WARM + length))
    for i in range(len(weights), x.shape[1]):
        x[:, i] = x[:, i - len(weights) : i] @ weights + std * rng.standard_normal(n)
    if not np.isfinite(x).all() or np.abs(x).max(initial=0) > 1e6:
        raise ValueError(f"a process with the coefficients {list(coefficients)} is not stationary")
    return {"x": x[:, -length:, None].astype(np.float32)}
