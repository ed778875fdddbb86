"""Curved arms around the origin of the plane: narrow, bent clusters.

After Matthew Johnson et al., "Composing Graphical Models with Neural Networks for Structured Representations and Fast
Inference", 2016, with the numbers of Grathwohl et al., "FFJORD", 2019: five arms, twice the size.
"""

import numpy as np


def draw(
    n: int,
    rng: np.random.Generator,
    arms: int = 5,
    radial_std: float = 0.3,
    tangential_std: float = 0.1,
    twist: float = 0.25,
) -> dict[str, np.ndarray]:
    """x: (n, 2) float32, about within radius 4; y: (n,) int64, the arm."""
    if arms < 1:
        raise ValueError(f"a pinwheel needs at least one arm, arms = {arms}")
    y = rng.integers(arms, size=n)
    along = 1 + radial_std * rng.standard_normal(n)
    across = tangential_std * rng.standard_normal(n)
    angle = y * (2 * np.pi / arms) + twist * np.exp(along)
    x = 2 * np.stack([along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)], axis=-1)
    return {"x": x.astype(np.float32), "y": y}
