"""Paths of points that move at one speed in a square box and bounce off its walls; `turn` makes their headings drift."""

import numpy as np


def draw(
    n: int, rng: np.random.Generator, length: int = 16, speed: float = 0.375, half: float = 1.5, turn: float = 0.0
) -> dict[str, np.ndarray]:
    """x: (n, length, 2) float32 in [-half, half]. A heading changes by `turn` times a normal number at each step."""
    at = rng.uniform(-half, half, (n, 2))
    heading = rng.uniform(0, 2 * np.pi, n)
    sign = np.ones((n, 2))
    x = np.zeros((n, length, 2))
    for i in range(length):
        x[:, i] = at
        heading = heading + turn * rng.standard_normal(n)
        at = at + speed * sign * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        outside = np.abs(at) > half
        at = np.where(outside, np.sign(at) * 2 * half - at, at)
        sign = np.where(outside, -sign, sign)
    return {"x": x.astype(np.float32)}
