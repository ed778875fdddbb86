"""Caches in the format that they are rounded to: what a loop carries of keys and values are codes and scales.

Where all that a round does with something that grows is to add rounded numbers (`concat(before, round_to(x))`), the codes are
kept instead of the numbers: packed planes, scales, and zeros of affine codes, each a tensor that grows. Whoever reads such a
cache finds the numbers, bit for bit, unpacked by standard ops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter, Packed
from specc.backends.onnx.rounding import Units, exponent, groups, joined, round_to, units
from specc.backends.onnx.scopes import ELEMENT
from specc.backends.onnx.unpack import is_number, numbers, power, spread

from specc.ir.coding import MOST_POWER, planes
from specc.ir.formats import FORMATS, Element
from specc.ir.ops import Op
from specc.ir.program import Block, Node, Program, Value
from specc.ir.types import GROWING, Shape, Type
from specc.record import record


@record(kw_only=True)
class Kept:
    """How rows of k numbers are kept, the last dimension of so many: a format, and how many share a scale (0: all). again:
    roundings of what was kept, which are done when it is read."""

    format: str
    rank: int
    k: int
    block: int
    affine: bool
    again: tuple[Node, ...] = ()

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The tensors that hold them: the type of an element, and how many there are for a row."""
        row, shared = FORMATS[self.format], -(-self.k // (self.block or self.k))
        if is_number(self.format, self.affine):
            codes = [(TensorProto.INT8, self.k)]
        else:
            codes = [(TensorProto.UINT8, -(-self.k * width // 8)) for width in planes(row.bits)]
        scales = (TensorProto.UINT8 if row.scale == "e8m0" else TensorProto.FLOAT, shared)
        return [*codes, scales, *([(TensorProto.UINT8, shared)] if self.affine else [])]

    @property
    def row_bytes(self) -> int:
        return sum(count * (4 if kind == TensorProto.FLOAT else 1) for kind, count in self.parts)


def caches(program: Program, block: Block) -> dict[int, Kept]:
    """How a loop keeps what grows in it, by its number among what is carried, where that is rounded."""
    out = {}
    for i, (param, result) in enumerate(zip(block.params[-len(block.results) :], block.results, strict=True)):
        found = _added(program, block, result) if GROWING in param.type.shape else None
        if found is not None and found[0] is param:
            out[i] = _kept(found[1])
    return out


def _added(program: Program, block: Block, result: Value) -> tuple[Value, list[Node]] | None:
    """What a result adds to, and the roundings of what is added; by way of calls."""
    made = {v.id: n for n in block.nodes for v in n.outputs}
    node = made.get(result.id)
    if node is not None and node.op is Op.CONCAT and len(node.inputs) == 2:
        found = _roundings(made, node)
        return (node.inputs[0], found) if found else None
    if node is None or node.op is not Op.CALL:
        return None
    inner = program.functions[node["function"]].block
    lane, place = divmod(node.outputs.index(result), len(inner.results))
    found = _added(program, inner, inner.results[place])
    if found is None or found[0] not in inner.params:
        return None
    return node.inputs[lane * len(inner.params) + inner.params.index(found[0])], found[1]


def _roundings(made: Mapping[int, Node], node: Node) -> list[Node]:
    """How rows were rounded that are added along another axis, the first rounding first."""
    rank, out = node.out.type.rank, []
    before = made.get(node.inputs[1].id)
    while before is not None and before.op is Op.ROUND_TO and [a % rank for a in before["axes"]] == [rank - 1]:
        out.insert(0, before)
        before = made.get(before.inputs[0].id)
    return out if node["axis"] % rank != rank - 1 else []


def _kept(roundings: Sequence[Node]) -> Kept:
    first, *others = roundings
    (*_, k), affine = first.out.type.shape, first.get("affine", False)
    block = min(first.get("block", 0), int(k))
    return Kept(format=first["format"], rank=first.out.type.rank, k=int(k), block=block, affine=affine, again=tuple(others))


def empty(e: Emitter, how: Kept, like: str) -> Packed:
    """A cache of no places, laid out like a tensor of none."""
    lead = e.op("Shape", like, start=0, end=-1, hint="shape")
    return _packed(how, [_zeros(e, lead, kind, count) for kind, count in how.parts])


def _zeros(e: Emitter, lead: str, kind: int, count: int) -> str:
    zero = onnx.helper.make_tensor("zero", kind, [1], [0])
    return e.op("ConstantOfShape", e.op("Concat", lead, e.ints(count), axis=0), value=zero, hint="none")


def forms(type: Type, how: Kept | None) -> list[tuple[Shape, int]]:
    """Shapes and elements of the tensors that hold a value, which is packed or not."""
    if how is None:
        return [(type.shape, ELEMENT[type.dtype])]
    return [((*type.shape[:-1], count), kind) for kind, count in how.parts]


def whole(how: Kept | None, names: Sequence[str]) -> str | Packed:
    """A value from the tensors that hold it."""
    return names[0] if how is None else _packed(how, names)


def parts(value: str | Packed) -> tuple[str, ...]:
    """The tensors that hold a value."""
    return value.parts if isinstance(value, Packed) else (value,)


def _packed(how: Kept, names: Sequence[str]) -> Packed:
    return Packed(parts=tuple(names), read=lambda e: _read(e, how, names))


def grown(e: Emitter, node: Node) -> Packed | None:
    """A packed cache with further places; None for any other concatenation."""
    before = e.env[node.inputs[0].id]
    if not isinstance(before, Packed):
        return None
    roundings = _roundings(e.uses.made, node)
    how = _kept(roundings)
    added = _written(e, how, e.name(roundings[0].inputs[0]))
    return _packed(how, [e.op("Concat", *pair, axis=node["axis"]) for pair in zip(before.parts, added, strict=True)])


def _written(e: Emitter, how: Kept, x: str) -> list[str]:
    """The parts of numbers."""
    row, lead = FORMATS[how.format], how.rank - 1
    found = units(e, groups(e, x, lead, how.k, how.block), row, how.affine, how.k, how.block)
    codes = joined(e, _codes(e, found, row.element), x, lead, how.k, how.block)

    def shared(name: str) -> str:
        return e.op("Squeeze", name, e.ints(-1)) if how.block else name

    scale = shared(found.scale)
    parts = [scale if row.scale == "float32" else _exponents(e, scale)]
    if found.zero is not None:
        parts.append(e.op("Cast", shared(found.zero), to=TensorProto.UINT8))
    if is_number(how.format, how.affine):
        return [e.op("Cast", codes, to=TensorProto.INT8), *parts]
    return [*_planes(e, e.op("Cast", codes, to=TensorProto.UINT8), row.bits, how.k), *parts]


def _codes(e: Emitter, found: Units, element: Element) -> str:
    """Codes as floats: those of floats as the table of the element counts them, integers from the least where they have less
    than a byte. That is read by a difference, several times faster than by a table."""
    if found.zero is not None:
        return found.numbers
    count, size = found.numbers, e.op("Abs", found.numbers)
    if element.exponent:
        low = 1 - element.bias
        power = e.op("Sub", exponent(e, e.op("Max", size, e.const(np.float32(2.0**low)))), e.const(np.int32(low)))
        steps = np.ldexp(np.ones(element.top - low + 1, np.float32), np.arange(low, element.top + 1) - element.mantissa)
        octaves = e.op("Mul", e.op("Cast", power, to=TensorProto.FLOAT), e.const(np.float32(2**element.mantissa)))
        count = e.op("Add", octaves, e.op("Div", size, e.op("Gather", e.const(steps), power)))
    elif element.unit != 1:
        count = e.op("Div", count, e.const(np.float32(element.unit)))
    half = e.const(np.float32(2 ** (element.bits - 1)))
    if not element.exponent:
        return count if element.bits == 8 else e.op("Add", count, half)
    negative = e.op("Less", found.numbers, e.const(np.float32(0)))
    return e.op("Add", count, e.op("Where", negative, half, e.const(np.float32(0))))


def _exponents(e: Emitter, scale: str) -> str:
    """The bytes of powers of two."""
    power = e.op("Round", e.op("Mul", e.op("Log", scale), e.const(np.float32(1 / np.log(2)))))
    limited = e.op("Clip", power, e.const(np.float32(-MOST_POWER)), e.const(np.float32(MOST_POWER)))
    return e.op("Cast", e.op("Add", limited, e.const(np.float32(MOST_POWER))), to=TensorProto.UINT8)


def _planes(e: Emitter, codes: str, bits: int, k: int) -> list[str]:
    """`specc.ir.coding.pack` in standard ops."""
    out, shift = [], 0
    for width in planes(bits):
        each = 8 // width
        part = e.op("BitShift", codes, e.const(np.uint8(shift)), direction="RIGHT") if shift else codes
        part = e.op("BitwiseAnd", part, e.const(np.uint8(2**width - 1))) if width < 8 else part
        if rest := -k % each:
            part = e.op("Pad", part, e.ints(0, rest), e.const(np.uint8(0)), e.ints(-1))
        lanes = e.op("Split", part, e.ints(*[-(-k // each)] * each), outputs=each, axis=-1) if each > 1 else (part,)
        found = lanes[0]
        for i, lane in enumerate(lanes[1:], 1):
            found = e.op("BitwiseOr", found, e.op("BitShift", lane, e.const(np.uint8(i * width)), direction="LEFT"))
        out.append(found)
        shift += width
    return out


def _read(e: Emitter, how: Kept, names: Sequence[str]) -> str:
    """The numbers of a cache."""
    row = FORMATS[how.format]
    *codes, scale = names[:-1] if how.affine else names
    counted = not row.element.exponent and row.bits < 8
    found = numbers(e, codes, how.format, how.k, affine=how.affine or counted)

    def shared(name: str) -> str:
        return spread(e, name, how.rank, how.block, how.k) if how.block else name

    if how.affine:
        found = e.op("Sub", found, e.op("Cast", shared(names[-1]), to=TensorProto.FLOAT))
    elif counted:
        found = e.op("Sub", found, e.const(np.float32(2 ** (row.bits - 1))))
    x = e.op("Mul", found, shared(scale) if row.scale == "float32" else power(e, shared(scale), row.element.unit))
    for node in how.again:
        x = round_to(e, node, x)
    return x
