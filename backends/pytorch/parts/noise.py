"""Noise that depends only on (seed of the example, place of the draw, loop indices, element).

The same numbers come out of PyTorch, the exported ONNX file and NumPy, alone or in a batch: a SplitMix64 hash of the counter
(Steele, Lea and Flood 2014), then Box-Muller in double precision.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN, MIX_1, MIX_2 = -7046029254386353131, -4658895280553007687, -7723592293110705685  # as signed 64-bit
# << uniform
BELOW_ONE = 1 - 2**-24  # the largest float32 below 1
# >>


# << normal
def normal(seed: Tensor, place: int, shape: Sequence[int], indices: Sequence[int | Tensor] = ()) -> Tensor:
    """Standard normal of shape (B, *shape), float32, for seeds (B,) int64; indices count the loops around the draw."""
    u, v = _pair(_words(seed, place, math.prod(shape), indices))
    z = torch.sqrt(-2 * torch.log(u)) * torch.cos(2 * math.pi * v)
    return z.float().view(seed.shape[0], *shape)


# >>
# << uniform
def uniform(seed: Tensor, place: int, shape: Sequence[int], indices: Sequence[int | Tensor] = ()) -> Tensor:
    """Uniform on the open interval (0, 1), of shape (B, *shape), float32, for seeds (B,) int64."""
    u, _ = _pair(_words(seed, place, math.prod(shape), indices))
    return u.clamp(max=BELOW_ONE).float().view(seed.shape[0], *shape)


# >>
def _words(seed: Tensor, place: int, count: int, indices: Sequence[int | Tensor]) -> Tensor:
    """64 random bits for each element: (B, count) int64."""
    golden = torch.full_like(seed, GOLDEN)  # a tensor, so that products wrap around
    stream = seed
    for k in (place, *indices):
        stream = _hash(stream + golden * (k + 1))  # (B,)
    element = GOLDEN * torch.arange(1, count + 1, device=seed.device)
    return _hash(stream[:, None] + element)


def _hash(v: Tensor) -> Tensor:
    v = (v ^ _shift(v, 30)) * MIX_1
    v = (v ^ _shift(v, 27)) * MIX_2
    return v ^ _shift(v, 31)


def _shift(v: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (v >> bits) & ((1 << (64 - bits)) - 1)


def _pair(word: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent numbers in (0, 1), double, from the high 48 bits of a word."""
    u = (_shift(word, 40).double() + 0.5) * 2**-24
    v = (_shift(word << 24, 40).double() + 0.5) * 2**-24
    return u, v
