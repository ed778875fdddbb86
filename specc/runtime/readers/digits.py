"""Handwritten digits: 1797 grey images of 8 by 8, ten classes, 43 people (the test part of the UCI set).

Each pixel counts the dark points in a 4 by 4 block of a 32 by 32 scan, 0 to 16: seventeen grey levels.
Source: Ethem Alpaydin and Cenk Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
as shipped inside scikit-learn.
"""

import numpy as np
from sklearn.datasets import load_digits


def load(split: str = "train", size: int = 8) -> dict[str, np.ndarray]:
    """x: (N, 1, size, size) float32 in [0, 1], y: (N,) int64. split is train (N = 1438), test (359) or all.

    The split is fixed and keeps the share of each class. Sizes 16 and 32 repeat each pixel.
    """
    if size not in (8, 16, 32):
        raise ValueError(f"digits come in size 8, 16 or 32, not {size}")
    if split not in ("train", "test", "all"):
        raise ValueError(f"digits have the splits train, test and all, not {split!r}")
    images, y = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8).repeat(size // 8, axis=2).repeat(size // 8, axis=3)
    y = y.astype(np.int64)
    held_out = np.zeros(len(y), dtype=bool)
    rng = np.random.default_rng(0)
    for label in range(10):
        members = rng.permutation(np.flatnonzero(y == label))
        held_out[members[: round(0.2 * len(members))]] = True
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones_like(held_out)}[split]
    return {"x": x[chosen], "y": y[chosen]}
