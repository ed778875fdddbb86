"""Formats of quantised numbers: one table for the checker, the quantiser and every backend.

A code q stands for (q - zero) scale. Weights are symmetric (zero = 0); activations are asymmetric, with one scale for a tensor,
found by calibration. Rounding is to the nearest code, ties to even, and values outside go to the ends.
"""

from __future__ import annotations

import numpy as np

from specc.record import record


@record(kw_only=True)
class Format:
    """A row of the table. `weights` and `activations` are the granularities allowed there; () means not allowed."""

    bits: int
    low: int  # codes of weights
    high: int
    weights: tuple[str, ...]
    activations: tuple[str, ...]
    scale: str
    block: int | None  # how many inputs share a scale, unless the rule says otherwise
    packing: str
    runs: str  # what ONNX Runtime's CPU provider does with it


FORMATS: dict[str, Format] = {
    "int8": Format(
        bits=8,
        low=-127,
        high=127,
        weights=("channel", "tensor", "block"),
        activations=("tensor",),
        scale="float32",
        block=None,
        packing="one byte a code; activations unsigned with a zero",
        runs="integer kernels (U8S8) with int8 activations; alone, weights are expanded when the file is opened",
    ),
    "int4": Format(
        bits=4,
        low=-7,
        high=7,
        weights=("block", "channel", "tensor"),
        activations=(),
        scale="float32",
        block=32,
        packing="two codes a byte, low half first",
        runs="products in blocks (MatMulNBits) for linear layers; convolutions are expanded when the file is opened",
    ),
}

METHODS = ("nearest",)  # of rounding weights
RANGES = ("minmax", "percentile")  # of activations, from calibration


@record
class Codes:
    """A quantised weight: codes of the weight's shape, and scales that broadcast over blocks of its axis 1."""

    codes: np.ndarray  # int8, whatever the number of bits
    scales: np.ndarray  # float32: () for a tensor, (n,) for channels, (n, blocks, ...) for blocks
    block: int | None

    def values(self) -> np.ndarray:
        """What the codes stand for, float32."""
        return np.asarray(self.codes * self.spread(), np.float32)

    def spread(self) -> np.ndarray:
        """The scales, one for each code or broadcasting to it."""
        if self.block is not None:
            return np.repeat(self.scales, self.block, axis=1)[:, : self.codes.shape[1]]
        return self.scales.reshape(-1, *[1] * (self.codes.ndim - 1)) if self.scales.ndim else self.scales


def encode(weight: np.ndarray, name: str, granularity: str, block: int | None = None) -> Codes:
    """Round a weight (n, k, ...) to a format; channels are its axis 0, and blocks lie along axis 1."""
    row = FORMATS[name]
    weight = np.asarray(weight, np.float32)
    if granularity == "block":
        size = block or row.block or 32
        k = weight.shape[1]
        padded = np.pad(weight, [(0, 0), (0, -k % size), *[(0, 0)] * (weight.ndim - 2)])
        grouped = padded.reshape(weight.shape[0], -1, size, *weight.shape[2:])
        scales = _scale(np.abs(grouped).max(axis=2), row)
        codes = _round(grouped / scales[:, :, None], row).reshape(padded.shape)[:, :k]
        return Codes(codes, scales, size)
    axes = tuple(range(1, weight.ndim)) if granularity == "channel" else None
    scales = _scale(np.abs(weight).max(axis=axes), row)
    spread = scales.reshape(-1, *[1] * (weight.ndim - 1)) if granularity == "channel" else scales
    return Codes(_round(weight / spread, row), scales, None)


def activation_range(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero of unsigned 8-bit codes that cover [low, high] and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / 255, 1e-12))
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def _scale(largest: np.ndarray, row: Format) -> np.ndarray:
    return np.maximum(np.asarray(largest, np.float32) / row.high, np.float32(1e-12))


def _round(values: np.ndarray, row: Format) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), row.low, row.high), np.int8)
