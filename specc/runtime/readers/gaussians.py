"""k equal normals, evenly spaced on a circle in the plane."""

import numpy as np


def draw(n: int, rng: np.random.Generator, k: int = 5, radius: float = 2.0, std: float = 0.2) -> dict[str, np.ndarray]:
    """x: (n, 2) float32, y: (n,) int64, the mode, counted anticlockwise from (radius, 0). k = 1 is one normal there."""
    if k < 1:
        raise ValueError(f"gaussians needs at least one mode, k = {k}")
    y = rng.integers(k, size=n)
    angle = y * (2 * np.pi / k)
    x = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + std * rng.standard_normal((n, 2))
    return {"x": x.astype(np.float32), "y": y}
