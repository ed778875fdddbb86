"""Noise that depends only on (seed of the example, place of the draw, loop indices, element): the NumPy form.

The same numbers come out of the reference interpreter, PyTorch and the exported ONNX file, alone or in a batch. With `hash`
the finaliser of SplitMix64 and G its golden-ratio increment, all modulo 2^64:

    stream  = hash(seed + G (place + 1))
    stream  = hash(stream + G (k + 1))       once for each loop index k, the outermost first
    word[j] = hash(stream + G (j + 1))       for element j of the flattened (row-major) shape
    u = ((word >> 40) + 1/2) 2^-24           the high 24 bits of the word
    v = ((word << 24 >> 40) + 1/2) 2^-24     the next 24 bits
    uniform = float32(min(u, 1 - 2^-24))     without the minimum the last of the 2^24 values would round to 1
    normal  = float32(sqrt(-2 log u) cos(2 pi v)), computed in double precision

Sources: Guy Steele, Doug Lea and Christine Flood, "Fast splittable pseudorandom number generators", 2014; George Box and
Mervin Muller, "A note on the generation of random normal deviates", 1958.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1

Words = NDArray[np.uint64]


def uniform(
    seed: NDArray[np.int64], place: int, shape: Sequence[int], indices: Sequence[int | np.integer] = ()
) -> NDArray[np.float32]:
    """Uniform on the open interval (0, 1). seed: (B,) int64, one for each example. Returns (B, *shape) float32."""
    u, _ = _pair(words(seed, place, math.prod(shape), indices))
    return np.minimum(u, BELOW_ONE).astype(np.float32).reshape(len(u), *shape)


def normal(
    seed: NDArray[np.int64], place: int, shape: Sequence[int], indices: Sequence[int | np.integer] = ()
) -> NDArray[np.float32]:
    """Standard normal. seed: (B,) int64, one for each example. Returns (B, *shape) float32."""
    u, v = _pair(words(seed, place, math.prod(shape), indices))
    z = np.sqrt(-2 * np.log(u)) * np.cos(2 * math.pi * v)
    return z.astype(np.float32).reshape(len(u), *shape)


def words(seed: NDArray[np.int64], place: int, count: int, indices: Sequence[int | np.integer] = ()) -> Words:
    """The 64 random bits behind each element. seed: (B,). Returns (B, count) uint64."""
    seed = np.asarray(seed)
    if seed.ndim != 1 or seed.dtype.kind not in "iu":
        raise ValueError(f"seed must be a vector of integers, one for each example; got {seed.dtype} of shape {seed.shape}")
    stream = seed.astype(np.uint64)  # modulo 2^64
    for k in (place, *indices):
        stream = _hash(stream + np.uint64(GOLDEN * (int(k) + 1) % 2**64))
    element = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    return _hash(stream[:, None] + element)


def _hash(v: Words) -> Words:
    v = (v ^ (v >> np.uint64(30))) * np.uint64(MIX_1)
    v = (v ^ (v >> np.uint64(27))) * np.uint64(MIX_2)
    return v ^ (v >> np.uint64(31))


def _pair(word: Words) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two independent numbers in (0, 1) from the high 48 bits of a word."""
    u = ((word >> np.uint64(40)).astype(np.float64) + 0.5) * 2.0**-24
    v = ((word << np.uint64(24) >> np.uint64(40)).astype(np.float64) + 0.5) * 2.0**-24
    return u, v
