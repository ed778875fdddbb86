"""Harmonic tones: a fundamental with a few partials under a smooth envelope, mono."""

import numpy as np


def draw(
    n: int,
    rng: np.random.Generator,
    size: int = 1024,
    rate: int = 8000,
    low: float = 100.0,
    high: float = 400.0,
    partials: int = 6,
    noise: float = 0.0,
) -> dict[str, np.ndarray]:
    """x: (n, 1, size) float32 in [-1, 1], at `rate` samples a second; f0: (n,) float32, the fundamental in hertz.

    f0 is log-uniform in [low, high]; 3 to `partials` partials below half the rate have falling weights and random phases; the
    envelope rises and falls as half a sine on top of a floor. noise: standard deviation of white noise added.
    """
    if size < 1 or partials < 3 or not 0 < low <= high < rate / 2:
        raise ValueError("tones need at least one sample, 3 partials, and 0 < low <= high < rate / 2")
    f0 = np.exp(rng.uniform(np.log(low), np.log(high), n))
    time = np.arange(size) / rate
    x = np.zeros((n, size))
    count = rng.integers(3, partials + 1, n)
    for k in range(1, partials + 1):
        heard = (k <= count) & (k * f0 < rate / 2)
        weight = np.where(heard, rng.uniform(0.5, 1, n) / k, 0)
        x += weight[:, None] * np.sin(2 * np.pi * (k * f0[:, None] * time + rng.uniform(0, 1, (n, 1))))
    x /= np.abs(x).max(axis=1, keepdims=True, initial=1e-9)
    middle = rng.uniform(0.2, 0.8, (n, 1))
    x *= 0.3 + 0.6 * np.exp(-(((np.arange(size) / size - middle) / 0.3) ** 2))
    x += noise * rng.standard_normal((n, size))
    return {"x": np.clip(x, -1, 1)[:, None].astype(np.float32), "f0": f0.astype(np.float32)}
