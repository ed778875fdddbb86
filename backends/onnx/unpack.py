"""Packed weights as initializers, and the standard ops that unpack them.

Codes lie in planes, row by row (`specc.ir.coding.pack`): shifts and masks take them out, a table says what they stand for.
Powers of two are stored as E8M0, one byte each. Where nothing else goes in, the runtime folds all of this when it opens
the file.
"""

from __future__ import annotations

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
        size, lead = codes.scales.block, (n,) if rows is None else rows[1]

        def read(kind: str, array: np.ndarray) -> str:
            name = self.array(e, path, kind, array, local=local)
            return name if rows is None or len(array) != n else e.op("Gather", name, rows[0], axis=0)

        def shared(kind: str, array: np.ndarray) -> str:
            """One for each column, or for all. Repeating them costs less than a product that broadcasts blocks."""
            name = read(kind, array)
            if size is None:
                return name
            each = e.op("Expand", e.op("Unsqueeze", name, e.ints(-1)), e.ints(*[1] * len(lead), 1, size))
            whole = e.op("Reshape", each, e.dims((*lead, -(-k // size) * size), infer=True))
            return e.op("Slice", whole, e.ints(0), e.ints(k), e.ints(-1)) if k % size else whole

        numbers = self._numbers(e, codes, read)
        if codes.scales.zeros is not None:
            numbers = e.op("Sub", numbers, e.op("Cast", shared("zeros", codes.scales.zeros), to=TensorProto.FLOAT))
        return e.op("Mul", numbers, _scales(e, codes, shared))

    def _numbers(self, e: Emitter, codes: Codes, read: Read) -> str:
        """What the codes stand for, in units of the element."""
        element, k = FORMATS[codes.format].element, codes.codes.shape[1]
        signed = not element.exponent and codes.scales.zeros is None
        if signed and element.bits == 8:
            return e.op("Cast", read("codes", codes.codes.view(np.int8)), to=TensorProto.FLOAT)
        whole, shift = "", 0
        for bits, data in zip(planes(element.bits), pack(codes.codes, element.bits), strict=True):
            part = _plane(e, read(f"codes.{shift}" if shift else "codes", data), bits, k)
            left = e.op("BitShift", part, e.const(np.uint8(shift)), direction="LEFT") if shift else part
            whole = e.op("BitwiseOr", whole, left) if shift else part
            shift += bits
        if codes.scales.zeros is not None:
            return e.op("Cast", whole, to=TensorProto.FLOAT)
        table = np.nan_to_num(element.table() / np.float32(element.unit))
        return e.op("Gather", e.const(table), e.op("Cast", whole, to=TensorProto.INT32))


def _plane(e: Emitter, data: str, bits: int, k: int) -> str:
    """(..., bytes) as (..., k) codes of some bits, one lane of the bytes after another."""
    if bits == 8:
        return data
    each, mask = 8 // bits, e.const(np.uint8(2**bits - 1))
    lanes = [e.op("BitShift", data, e.const(np.uint8(i * bits)), direction="RIGHT") if i else data for i in range(each)]
    codes = e.op("Concat", *(e.op("BitwiseAnd", lane, mask) for lane in lanes), axis=-1)
    return e.op("Slice", codes, e.ints(0), e.ints(k), e.ints(-1)) if k % each else codes


def _scales(e: Emitter, codes: Codes, shared: Read) -> str:
    row = FORMATS[codes.format]
    if row.scale == "float32":
        return shared("scales", codes.scales.values)
    powers = np.frexp(codes.scales.values)[1] - 1 + MOST_POWER
    table = np.ldexp(np.full(2 * MOST_POWER + 1, row.element.unit, np.float32), np.arange(-MOST_POWER, MOST_POWER + 1))
    return e.op("Gather", e.const(table), e.op("Cast", shared("scales", powers.astype(np.uint8)), to=TensorProto.INT32))
