"""A circle in the plane, centred at the origin and blurred along the radius: a one-dimensional manifold."""

import numpy as np


def draw(n: int, rng: np.random.Generator, radius: float = 2.0, std: float = 0.1) -> dict[str, np.ndarray]:
    """x: (n, 2) float32 at distance radius + std * normal from the origin, at a uniform angle."""
    angle = rng.uniform(0, 2 * np.pi, size=n)
    distance = radius + std * rng.standard_normal(n)
    x = distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return {"x": x.astype(np.float32)}
