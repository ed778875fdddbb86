"""Eight equal normals on a circle in the plane: the usual test of a generator for lost modes.

Radius 5 and variance 1/10 follow Alexander Tong et al., "Improving and Generalizing Flow-Based Generative Models with
Minibatch Optimal Transport", 2024.
"""

import math

import numpy as np


def draw(n: int, rng: np.random.Generator, radius: float = 5.0, std: float = math.sqrt(0.1)) -> dict[str, np.ndarray]:
    """x: (n, 2) float32, y: (n,) int64, the mode, counted anticlockwise from (radius, 0)."""
    y = rng.integers(8, size=n)
    angle = y * (2 * np.pi / 8)
    x = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + std * rng.standard_normal((n, 2))
    return {"x": x.astype(np.float32), "y": y}
