"""The quantiser's arithmetic: scales, codes, their packing, and rounded activations, by the rows of `specc.ir.formats`.

A weight is a matrix (n, k) here whose rows are results and over whose columns a product sums: `as_matrix` lays kernels out
so. One scale belongs to the whole matrix, a row (`channel`) or a block of a row.
"""

from __future__ import annotations

import numpy as np

from specc.ir.formats import FORMATS, Format
from specc.record import record

BLOCK = 32  # numbers that share a scale, where neither the rule nor the format says
LEAST = np.float32(1e-12)  # scale of what is zero throughout
MOST_POWER = 127  # of a shared power of two, and its negative
PLANES = (4, 2, 1)  # bits of a code that lie together in a byte, where it has not 8


@record
class Scales:
    """`values` (1 or n, 1 or blocks), with the zeros of affine codes in the same shape."""

    values: np.ndarray
    zeros: np.ndarray | None = None
    block: int | None = None

    def spread(self, k: int) -> np.ndarray:
        """One scale for each of k columns, or broadcasting to them."""
        return self._spread(self.values, k)

    def shifts(self, k: int) -> np.ndarray | None:
        return None if self.zeros is None else self._spread(self.zeros, k)

    def _spread(self, array: np.ndarray, k: int) -> np.ndarray:
        return array if self.block is None else np.repeat(array, self.block, axis=1)[:, :k]


@record
class Codes:
    """A quantised matrix: codes (n, k), uint8, as the element's table counts them; affine ones count from 0 to 2^bits - 1."""

    format: str
    codes: np.ndarray
    scales: Scales

    def numbers(self) -> np.ndarray:
        """What the codes stand for before their scales, float32."""
        shifts = self.scales.shifts(self.codes.shape[1])
        if shifts is not None:
            return np.asarray(np.asarray(self.codes, np.float32) - shifts, np.float32)
        return np.asarray(FORMATS[self.format].element.table()[self.codes], np.float32)

    def values(self) -> np.ndarray:
        """The matrix that they stand for, float32."""
        return np.asarray(self.numbers() * self.scales.spread(self.codes.shape[1]), np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes when packed, with scales and zeros."""
        row, count = FORMATS[self.format], self.scales.values.size
        shared = count * (row.scale_bytes + (self.scales.zeros is not None))
        return -(-self.codes.size * row.bits // 8) + shared


def as_matrix(weight: np.ndarray, transposed: bool = False) -> np.ndarray:
    """A kernel (n, k, ...) as (n, k ...); a transposed convolution's (k, n, ...) likewise."""
    weight = np.asarray(weight, np.float32)
    weight = np.moveaxis(weight, 1, 0) if transposed else weight
    return np.ascontiguousarray(weight.reshape(weight.shape[0], -1))


def from_matrix(matrix: np.ndarray, shape: tuple[int, ...], transposed: bool = False) -> np.ndarray:
    """The inverse of `as_matrix` for a weight of this shape."""
    if not transposed:
        return matrix.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(matrix.reshape(shape[1], shape[0], *shape[2:]), 0, 1))


def encode(matrix: np.ndarray, name: str, granularity: str, block: int | None = None, affine: bool = False) -> Codes:
    """Round a matrix to a format, each number to the nearest."""
    return encode_by(matrix, name, scales_of(matrix, name, granularity, block, affine))


def scales_of(matrix: np.ndarray, name: str, granularity: str, block: int | None = None, affine: bool = False) -> Scales:
    """The scales that a matrix asks for: by its largest or mean absolute value, or so that codes cover its values."""
    row = FORMATS[name]
    size = min(block or row.block or BLOCK, matrix.shape[1]) if granularity == "block" else None
    if not np.isfinite(matrix).all():
        raise ValueError("values that are not finite cannot be quantised")
    groups = _groups(np.asarray(matrix, np.float32), granularity, size)
    if affine:
        return _affine(groups, row, size)
    largest = np.nanmean(np.abs(groups), axis=2) if row.fit == "mean" else np.nanmax(np.abs(groups), axis=2)
    return Scales(scale_of(largest, row), block=size)


def _groups(matrix: np.ndarray, granularity: str, size: int | None) -> np.ndarray:
    """(1 or n, 1 or blocks, numbers that share a scale); the last block is filled with nan."""
    if granularity == "tensor":
        return matrix.reshape(1, 1, -1)
    if size is None:
        return matrix[:, None, :]
    padded = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % size)), constant_values=np.nan)
    return padded.reshape(len(matrix), -1, size)


def scale_of(largest: np.ndarray, row: Format) -> np.ndarray:
    """The scale under which values up to `largest` (or of that mean) fit the element, float32."""
    largest = np.asarray(largest, np.float32)
    if row.scale == "e8m0":
        power = np.frexp(np.where(largest > 0, largest, 1))[1] - 1 - row.element.top
        power = np.where(largest > 0, np.clip(power, -MOST_POWER, MOST_POWER), -MOST_POWER)
        return np.asarray(np.ldexp(np.ones_like(largest), power), np.float32)
    return np.maximum(largest if row.fit == "mean" else largest / np.float32(row.element.largest), LEAST)


def _affine(groups: np.ndarray, row: Format, size: int | None) -> Scales:
    top = 2**row.bits - 1
    low, high = np.minimum(np.nanmin(groups, axis=2), 0), np.maximum(np.nanmax(groups, axis=2), 0)
    scales = np.maximum((high - low) / np.float32(top), LEAST)
    return Scales(scales, np.asarray(np.clip(np.rint(-low / scales), 0, top), np.uint8), size)


def encode_by(matrix: np.ndarray, name: str, scales: Scales) -> Codes:
    """The nearest codes under given scales; `matrix` may be some columns of one that `scales` (without blocks) belongs to."""
    element, k = FORMATS[name].element, matrix.shape[1]
    scaled = np.asarray(matrix, np.float32) / scales.spread(k)
    shifts = scales.shifts(k)
    if shifts is not None:
        codes = np.clip(np.rint(scaled + shifts), 0, 2**element.bits - 1).astype(np.uint8)
    else:
        codes = element.codes(element.round(scaled))
    return Codes(name, codes, scales)


# Activations


def rounded(x: np.ndarray, name: str, axis: int = -1, block: int | None = None) -> np.ndarray:
    """Values rounded under scales of their own: of each block of an axis, or of the whole axis. What `dynamic` means."""
    row = FORMATS[name]
    moved = np.moveaxis(np.asarray(x, np.float32), axis, -1)
    rows = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
    size = block or row.operands
    codes = encode(rows, name, "channel" if size is None else "block", size)
    return np.moveaxis(codes.values().reshape(moved.shape), -1, axis)


def activation_range(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero of unsigned 8-bit codes that cover [low, high] and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / 255, 1e-12))
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


# Packing


def planes(bits: int) -> tuple[int, ...]:
    """How the bits of a code are split, lowest bits first: each plane's width divides a byte."""
    if bits == 8:
        return (8,)
    return tuple(w for w in PLANES if bits & w)


def pack(codes: np.ndarray, bits: int) -> tuple[np.ndarray, ...]:
    """The planes of codes (..., k), packed along the last dimension. In a plane of m bytes code i lies in byte i mod m,
    the first m codes in the lowest bits: then unpacking is whole rows after each other."""
    out, shift = [], 0
    for width in planes(bits):
        part = codes >> np.uint8(shift) & np.uint8(2**width - 1)
        each = 8 // width
        part = np.pad(part, [*[(0, 0)] * (codes.ndim - 1), (0, -codes.shape[-1] % each)])
        lanes = part.reshape(*codes.shape[:-1], each, -1) << np.arange(0, 8, width, dtype=np.uint8)[:, None]
        out.append(np.asarray(np.bitwise_or.reduce(lanes, axis=-2), np.uint8))
        shift += width
    return tuple(out)


def unpack(packed: tuple[np.ndarray, ...], bits: int, k: int) -> np.ndarray:
    """The inverse of `pack` for k codes."""
    codes, shift = np.zeros((*packed[0].shape[:-1], k), np.uint8), 0
    for width, data in zip(planes(bits), packed, strict=True):
        lanes = data[..., None, :] >> np.arange(0, 8, width, dtype=np.uint8)[:, None] & np.uint8(2**width - 1)
        codes |= lanes.reshape(*data.shape[:-1], -1)[..., :k] << np.uint8(shift)
        shift += width
    return codes
