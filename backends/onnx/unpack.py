"""Packed weights as initializers, and the standard ops that unpack them.

Codes lie in planes, row by row (`specc.ir.coding.pack`): shifts and masks take them out, a table says what they stand for.
Powers of two are stored as E8M0, one byte each. Where nothing else goes in, the runtime folds all of this when it opens
the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter
from specc.backends.onnx.scopes import tensor

from specc.ir.coding import MOST_POWER, Codes, pack, planes
from specc.ir.formats import FORMATS
from specc.ir.types import Shape

Read = Callable[[str, np.ndarray], str]  # an initializer's name, from what it holds


@dataclass(slots=True)
class Store:
    """The packed initializers of a file. `sizes` are bytes by the weight's path."""

    sizes: dict[str, int] = field(default_factory=dict)

    def array(self, e: Emitter, path: str, kind: str, array: np.ndarray, *, local: bool = False) -> str:
        """An initializer, once; `local` asks for the graph of its use."""
        name = f"{path}.{kind}"
        if name not in e.placed:
            array = np.ascontiguousarray(array)
            e.place(name, tensor(name, array))
            self.sizes[path] = self.sizes.get(path, 0) + array.nbytes
        return e.use(name, local=local)

    def matrix(self, e: Emitter, path: str, codes: Codes, *, local: bool = False, rows: tuple[str, Shape] | None = None) -> str:
        """The matrix (n, k) that codes stand for, or the rows of it that an index of a shape names."""
        n, k = codes.codes.shape
        size, rank = codes.scales.block, 1 + (1 if rows is None else len(rows[1]))

        def read(kind: str, array: np.ndarray) -> str:
            name = self.array(e, path, kind, array, local=local)
            return name if rows is None or len(array) != n else e.op("Gather", name, rows[0], axis=0)

        def shared(kind: str, array: np.ndarray) -> str:
            name = read(kind, array)
            return name if size is None else spread(e, name, rank, size, k)

        parts = _planes(codes)
        names = [read(f"codes.{i}" if i else "codes", data) for i, data in parts]
        found = numbers(e, names, codes.format, k, affine=codes.scales.zeros is not None)
        if codes.scales.zeros is not None:
            found = e.op("Sub", found, e.op("Cast", shared("zeros", codes.scales.zeros), to=TensorProto.FLOAT))
        return e.op("Mul", found, _scales(e, codes, shared))


def _planes(codes: Codes) -> list[tuple[int, np.ndarray]]:
    """The planes of codes as they are stored, each with its lowest bit."""
    bits = FORMATS[codes.format].bits
    if is_number(codes.format, codes.scales.zeros is not None):
        return [(0, codes.codes.view(np.int8))]
    starts = itertools.accumulate(planes(bits), initial=0)
    return list(zip(starts, pack(codes.codes, bits), strict=False))


def spread(e: Emitter, name: str, rank: int, size: int, k: int) -> str:
    """Numbers of blocks (..., blocks), of this rank, as one for each of k columns. Repeating them costs less than a product
    that broadcasts blocks."""
    each = e.op("Expand", e.op("Unsqueeze", name, e.ints(-1)), e.ints(*[1] * rank, size))
    whole = e.op("Reshape", each, e.ints(*[0] * (rank - 1), -1))
    return e.op("Slice", whole, e.ints(0), e.ints(k), e.ints(-1)) if k % size else whole


def is_number(name: str, affine: bool) -> bool:
    """Whether a code is a number by itself: a byte with a sign."""
    element = FORMATS[name].element
    return not element.exponent and not affine and element.bits == 8


def numbers(e: Emitter, parts: list[str], name: str, k: int, *, affine: bool) -> str:
    """What packed codes stand for, in units of the element; affine ones are levels above a zero."""
    if is_number(name, affine):
        return e.op("Cast", parts[0], to=TensorProto.FLOAT)
    element, found, shift = FORMATS[name].element, "", 0
    for bits, data in zip(planes(element.bits), parts, strict=True):
        part = _plane(e, data, bits, k)
        left = e.op("BitShift", part, e.const(np.uint8(shift)), direction="LEFT") if shift else part
        found = e.op("BitwiseOr", found, left) if shift else part
        shift += bits
    if affine:
        return e.op("Cast", found, to=TensorProto.FLOAT)
    table = np.nan_to_num(element.table() / np.float32(element.unit))
    return e.op("Gather", e.const(table), e.op("Cast", found, to=TensorProto.INT32))


def _plane(e: Emitter, data: str, bits: int, k: int) -> str:
    """(..., bytes) as (..., k) codes of some bits, one lane of the bytes after another."""
    if bits == 8:
        return data
    each, mask = 8 // bits, e.const(np.uint8(2**bits - 1))
    lanes = [e.op("BitShift", data, e.const(np.uint8(i * bits)), direction="RIGHT") if i else data for i in range(each)]
    codes = e.op("Concat", *(e.op("BitwiseAnd", lane, mask) for lane in lanes), axis=-1)
    return e.op("Slice", codes, e.ints(0), e.ints(k), e.ints(-1)) if k % each else codes


def _scales(e: Emitter, codes: Codes, shared: Read) -> str:
    if FORMATS[codes.format].scale == "float32":
        return shared("scales", codes.scales.values)
    powers = np.frexp(codes.scales.values)[1] - 1 + MOST_POWER
    return power(e, shared("scales", powers.astype(np.uint8)), FORMATS[codes.format].element.unit)


def power(e: Emitter, name: str, unit: float) -> str:
    """Powers of two from their bytes, times the unit of an element."""
    table = np.ldexp(np.full(2 * MOST_POWER + 1, unit, np.float32), np.arange(-MOST_POWER, MOST_POWER + 1))
    return e.op("Gather", e.const(table), e.op("Cast", name, to=TensorProto.INT32))
