"""Numbers rounded to few bits, as exported files store and multiply them. What lies along the last dimension, or along `dim`,
shares a scale; with `block` so many of it do. Gradients pass as if nothing had been rounded (Bengio, Léonard, Courville 2013,
Estimating or Propagating Gradients Through Stochastic Neurons)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-12  # scale of what is zero throughout
Dims = int | tuple[int, ...]
# << linear
Kind = Callable[..., Tensor]  # a format: numbers to be rounded, and `dim`
# >>


# << integers
def integers(x: Tensor, bits: int, dim: Dims = -1, block: int = 0) -> Tensor:
    """The nearest of 2^bits - 1 levels, 0 in their middle."""
    top = 2 ** (bits - 1) - 1

    def nearest(groups: Tensor) -> Tensor:
        scale = (groups.abs().amax(-1, keepdim=True) / top).clamp(min=TINY)
        return (groups / scale).round().clamp(-top, top) * scale

    return _rounded(x, nearest, dim, block)


# >>
# << affine
def affine(x: Tensor, bits: int, dim: Dims = -1, block: int = 0) -> Tensor:
    """The nearest of 2^bits levels from the least number to the largest, 0 among them."""
    top = 2**bits - 1

    def nearest(groups: Tensor) -> Tensor:
        low, high = groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0)
        scale = ((high - low) / top).clamp(min=TINY)
        zero = (-low / scale).round().clamp(0, top)
        return ((groups / scale + zero).round().clamp(0, top) - zero) * scale

    return _rounded(x, nearest, dim, block)


# >>
# << ternary
def ternary(x: Tensor, dim: Dims = -1, block: int = 0) -> Tensor:
    """The nearest of -1, 0 and 1 times the mean absolute value."""

    def nearest(groups: Tensor) -> Tensor:
        scale = groups.abs().nanmean(-1, keepdim=True).clamp(min=TINY)
        return (groups / scale).round().clamp(-1, 1) * scale

    return _rounded(x, nearest, dim, block, filling=math.nan)


# >>
# << floats
def floats(
    x: Tensor, exponent: int, mantissa: int, largest: float, dim: Dims = -1, block: int = 0, powers: bool = False
) -> Tensor:
    """The nearest floats of so many bits, the largest of which is `largest`, times a scale: with `powers` a power of two."""
    least = 2 - 2 ** (exponent - 1)  # the exponent of the least normal number

    def nearest(groups: Tensor) -> Tensor:
        most = groups.abs().amax(-1, keepdim=True)
        scale = _power(most, largest) if powers else (most / largest).clamp(min=TINY)
        units = (groups / scale).clamp(-largest, largest)
        step = torch.ldexp(torch.ones_like(units), (torch.frexp(units).exponent - 1).clamp(min=least) - mantissa)
        return (units / step).round() * step * scale

    return _rounded(x, nearest, dim, block)


# >>
# << fixed
def fixed(x: Tensor, bits: int, dim: Dims = -1, block: int = 0) -> Tensor:
    """The nearest numbers of fixed point below 2 in size, times a power of two."""
    top, unit = 2 ** (bits - 1) - 1, 2 ** (2 - bits)

    def nearest(groups: Tensor) -> Tensor:
        scale = _power(groups.abs().amax(-1, keepdim=True), top * unit)
        return (groups / scale / unit).round().clamp(-top, top) * unit * scale

    return _rounded(x, nearest, dim, block)


# >>
# << powers
def _power(most: Tensor, largest: float) -> Tensor:
    """The power of two that brings `most` into the highest octave of numbers up to `largest`."""
    power = torch.frexp(most).exponent - 1 - math.floor(math.log2(largest))
    return torch.ldexp(torch.ones_like(most), torch.where(most > 0, power.clamp(-127, 127), -127))


# >>
# << mxfp8_e4m3
def mxfp8_e4m3(x: Tensor, dim: Dims = -1) -> Tensor:
    """Floats of 8 bits, 3 of them mantissa, in blocks of 32 under a power of two."""
    return floats(x, exponent=4, mantissa=3, largest=448.0, dim=dim, block=32, powers=True)


# >>
# << mxfp8_e5m2
def mxfp8_e5m2(x: Tensor, dim: Dims = -1) -> Tensor:
    """Floats of 8 bits, 2 of them mantissa, in blocks of 32 under a power of two."""
    return floats(x, exponent=5, mantissa=2, largest=57344.0, dim=dim, block=32, powers=True)


# >>
# << mxfp6_e3m2
def mxfp6_e3m2(x: Tensor, dim: Dims = -1) -> Tensor:
    """Floats of 6 bits, 2 of them mantissa, in blocks of 32 under a power of two."""
    return floats(x, exponent=3, mantissa=2, largest=28.0, dim=dim, block=32, powers=True)


# >>
# << mxfp6_e2m3
def mxfp6_e2m3(x: Tensor, dim: Dims = -1) -> Tensor:
    """Floats of 6 bits, 3 of them mantissa, in blocks of 32 under a power of two."""
    return floats(x, exponent=2, mantissa=3, largest=7.5, dim=dim, block=32, powers=True)


# >>
# << mxfp4
def mxfp4(x: Tensor, dim: Dims = -1) -> Tensor:
    """Floats of 4 bits, 1 of them mantissa, in blocks of 32 under a power of two."""
    return floats(x, exponent=2, mantissa=1, largest=6.0, dim=dim, block=32, powers=True)


# >>
# << mxint8
def mxint8(x: Tensor, dim: Dims = -1) -> Tensor:
    """Fixed point of 8 bits in blocks of 32 under a power of two."""
    return fixed(x, bits=8, dim=dim, block=32)


# >>
# << weights
def weights(queries: Tensor, keys: Tensor, is_causal: bool = False) -> Tensor:
    """How much each query attends to each key: those behind it not at all, where it is causal."""
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(-1)


# >>
# << linear
def linear(x: Tensor, weight: Tensor, bias: Tensor | None, weights: Kind, activations: Kind, gradients: Kind) -> Tensor:
    """F.linear of rounded numbers. Each of the three products, two of which are of the backward pass, has the blocks of both
    its operands along what it sums over, cut from the numbers as they were."""
    out: Tensor = _Products.apply(x, weight, weights, activations, gradients)
    return out if bias is None else out + bias


class _Products(torch.autograd.Function):
    """x (..., d) and weight (n, d) to (..., n)."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, weights: Kind, activations: Kind, gradients: Kind) -> Tensor:
        return F.linear(activations(x), weights(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.kinds = inputs[2:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (weights, activations, gradients) = ctx.saved_tensors, ctx.kinds
        rows = gradient.flatten(0, -2)
        of_x = gradients(gradient) @ weights(weight, dim=0)
        of_weight = gradients(rows, dim=0).T @ activations(x.flatten(0, -2), dim=0)
        return of_x, of_weight, None, None, None


# >>
class _Through(torch.autograd.Function):
    """A value with the gradient of another."""

    @staticmethod
    def forward(x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:
        return tangent.clone()


def _rounded(x: Tensor, nearest: Callable[[Tensor], Tensor], dim: Dims, block: int, filling: float = 0.0) -> Tensor:
    """`nearest` of the groups (..., numbers that share a scale); the last block is filled up with `filling`."""
    dims = (dim,) if isinstance(dim, int) else dim
    last = tuple(range(-len(dims), 0))
    moved = x.detach().movedim(dims, last)
    rows = moved.flatten(-len(dims))
    k = rows.shape[-1]
    if block:
        rows = F.pad(rows, (0, -k % block), value=filling).unflatten(-1, (-1, block))
    values = nearest(rows)
    if block:
        values = values.flatten(-2)[..., :k].nan_to_num()
    return _Through.apply(x, values.reshape(moved.shape).movedim(last, dims))
