"""Two interleaving half circles of radius 1 in the plane, blurred by normal noise.

The upper moon is centred at (0, 0), the lower at (1, 1/2); without noise the mean is (1/2, 1/4) and the x axis runs from -1
to 2. The geometry of scikit-learn's `make_moons` (Pedregosa et al., "Scikit-learn: Machine Learning in Python", 2011), with
angles drawn at random.
"""

import numpy as np


def draw(
    n: int, rng: np.random.Generator, noise: float = 0.05, scale: float = 1.0, shift: float = 0.0
) -> dict[str, np.ndarray]:
    """x: (n, 2) float32, y: (n,) int64, 0 for the upper moon and 1 for the lower.

    noise: standard deviation, before both coordinates are multiplied by `scale` and moved by `shift`.
    """
    y = rng.integers(2, size=n)
    angle = rng.uniform(0, np.pi, size=n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=-1)
    x = np.where(y[:, None] == 0, upper, lower) + noise * rng.standard_normal((n, 2))
    return {"x": (scale * x + shift).astype(np.float32), "y": y}
