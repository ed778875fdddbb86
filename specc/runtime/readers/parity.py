"""Bits whose sum is even: each one is decided by the others, and any smaller set of them is independent."""

import numpy as np


def draw(n: int, rng: np.random.Generator, length: int = 4) -> dict[str, np.ndarray]:
    """x: (n, length) int64, 0 or 1."""
    x = rng.integers(0, 2, size=(n, length))
    x[:, -1] = x[:, :-1].sum(axis=1) % 2
    return {"x": x}
