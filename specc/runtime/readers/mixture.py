"""A mixture of normals with centres and weights as listed, in any dimension; without noise, atoms."""

from collections.abc import Sequence

import numpy as np


def draw(
    n: int,
    rng: np.random.Generator,
    centres: Sequence[Sequence[float]] = ((-1.0, 0.0), (1.0, 0.0)),
    weights: Sequence[float] = (),
    noise: float = 0.1,
) -> dict[str, np.ndarray]:
    """x: (n, D) float32, y: (n,) int64, the place in the list. `noise` is the standard deviation; no weights: equal ones."""
    at = np.asarray(centres, dtype=float)
    if at.ndim != 2 or not len(at):
        raise ValueError("mixture needs at least one centre, and as many numbers in each")
    share = np.asarray(weights if len(weights) else [1.0] * len(at), dtype=float)
    if len(share) != len(at) or (share < 0).any() or not share.sum() > 0:
        raise ValueError(f"mixture needs a weight for each of its {len(at)} centres, 0 or more")
    y = rng.choice(len(at), size=n, p=share / share.sum())
    x = at[y] + noise * rng.standard_normal((n, at.shape[1]))
    return {"x": x.astype(np.float32), "y": y.astype(np.int64)}
