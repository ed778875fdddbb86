"""What the claims of the adversarial systems share."""

import numpy as np

from specc.runtime.metrics.distances import sliced_wasserstein


def ring(radius: float, k: int = 8) -> np.ndarray:
    angle = 2 * np.pi * np.arange(k) / k
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def modes(samples: np.ndarray, centres: np.ndarray, within: float, share: float = 0.02) -> int:
    """Centres with at least this share of all samples within a distance of them."""
    gap = np.linalg.norm(samples[:, None] - centres, axis=-1)
    near = gap.argmin(axis=1)[gap.min(axis=1) < within]
    return int((np.bincount(near, minlength=len(centres)) >= share * len(samples)).sum())


__all__ = ["modes", "ring", "sliced_wasserstein"]
