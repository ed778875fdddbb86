"""How many numbers should share a scale, from the weight alone.

Whole rows, then blocks of half the size for as long as halving narrows the ranges enough: a row with outliers gains by it at
each step, one without hardly at all.

Kim, Henry, Fahim, Awadalla 2023, FineQuant: Unlocking Efficiency with Fine-Grained Weight-Only Quantization for LLMs.
"""

from __future__ import annotations

import numpy as np


def narrowing(weight: np.ndarray, block: int) -> float:
    """1 minus the mean over blocks of (the mean largest of the two halves over the largest of the block), for weight (n, k)."""
    n, k = weight.shape
    halves = np.abs(np.pad(weight, ((0, 0), (0, -k % block)))).reshape(n, -1, 2, block // 2).max(axis=-1)
    whole = halves.max(axis=-1)
    return float(1 - np.mean(halves.mean(axis=-1) / np.where(whole > 0, whole, 1), where=whole > 0))


def adaptive(weight: np.ndarray, least: int = 64, enough: float = 0.1) -> int:
    """How many columns of (n, k) share a scale: a power of 2 times `least` below k, or k itself. `least` means that the weight
    is a difficult one: its ranges narrowed all the way."""
    k = int(weight.shape[1])
    block = least
    while block < k:
        block *= 2
    while block > least and narrowing(weight, block) > enough:
        block //= 2
    return min(block, k)
