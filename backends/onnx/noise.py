"""Noise inside the graph: the numbers of `specc.runtime.noise`, computed by ONNX nodes.

Each draw also has an optional input `noise_<place>`: when it is not empty, its numbers are used instead, so that two
programs can be compared on the same noise. Its shape is (B, *shape), with a leading dimension for each loop index.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
from onnx import TensorProto
from specc.backends.onnx.emit import Emitter, UnsupportedError
from specc.backends.onnx.scopes import info, tensor

from specc.ir.ops import Op
from specc.ir.program import Node
from specc.ir.types import BATCH, DType, Shape, Type
from specc.runtime.noise import BELOW_ONE, GOLDEN, MIX_1, MIX_2

STEPS = "N"  # symbolic leading dimension of explicit noise


def draw(e: Emitter, node: Node) -> str:
    """NORMAL or UNIFORM: explicit noise when the caller gave it, else the generator."""
    if not node["keyed"]:
        raise UnsupportedError("a draw without a seed belongs to training")
    seed, *indices = (e.name(v) for v in node.inputs)
    name = f"noise_{node['place']}"
    if node["place"] in e.told:
        return _told(e, name, indices, node)
    if e.plain or any(v.type.rank for v in node.inputs[1:]):
        return generate(e, node, seed, indices)
    given = _given(e, name, len(indices), node)
    out = e.fresh(f"draw_{node['place']}")
    with e.nested("given") as explicit:
        z = name
        for index in indices:
            z = e.op("Gather", z, index, axis=0)
        e.result(z, node.out.type, out)
    with e.nested("drawn") as drawn:
        e.result(generate(e, node, seed, indices), node.out.type, out)
    e.control("If", [given], [out], then_branch=explicit.graph, else_branch=drawn.graph)
    return out


def _told(e: Emitter, name: str, indices: list[str], node: Node) -> str:
    """The numbers of an input that is always given."""
    if name not in e.noise:
        dims = tuple(f"{STEPS}{i}_{node['place']}" for i in range(len(indices)))
        e.root.graph.inputs.append(info(name, Type(DType.FLOAT, (*dims, *node.out.type.shape))))
        e.noise[name] = (name, len(indices))
    z = name
    for index in indices:
        z = e.op("Gather", z, index, axis=0)
    return z


def generate(e: Emitter, node: Node, seed: str, indices: list[str]) -> str:
    """The counter generator. Streams of 64 bits, one for each example, are hashed with the element's number."""
    with e.outermost() if e.outside(seed) else nullcontext():
        stream = _hash(e, e.op("Add", _words(e, seed), _word(e, GOLDEN * (node["place"] + 1))))
    for index in indices:
        step = e.op("Mul", e.op("Add", _words(e, index), _word(e, 1)), _word(e, GOLDEN))
        stream = _hash(e, e.op("Add", stream, step))
    column = e.op("Unsqueeze", stream, e.ints(1))
    word = _hash(e, e.op("Add", column, _elements(e, node.out.type.shape[1:])))
    u = _unit(e, _right(e, word, 40))
    if node.op is Op.UNIFORM:
        z = e.op("Min", u, e.const(np.float64(BELOW_ONE)))
    else:
        v = _unit(e, _right(e, e.op("Mul", word, _word(e, 2**24)), 40))
        radius = e.op("Sqrt", e.op("Mul", e.op("Log", u), e.const(np.float64(-2))))
        z = e.op("Mul", radius, e.op("Cos", e.op("Mul", v, e.const(np.float64(2 * math.pi)))))
    return e.op("Reshape", e.op("Cast", z, to=TensorProto.FLOAT), e.dims(node.out.type.shape, infer=True))


def _given(e: Emitter, name: str, leading: int, node: Node) -> str:
    """Declare the input once; the name of a bool that says whether it has anything in it."""
    if name not in e.noise:
        dims = (*(f"{STEPS}{i}_{node['place']}" for i in range(leading)), *node.out.type.shape)
        e.root.graph.inputs.append(info(name, Type(DType.FLOAT, (f"{STEPS}_{name}", *dims[1:]))))
        empty = np.zeros([0 if isinstance(d, str) else d for d in dims], np.float32)
        e.root.graph.tensors.append(tensor(name, empty))
        with e.outermost():
            given = e.op("Greater", e.op("Size", name), e.const(np.int64(0)), hint=f"given_{node['place']}")
        e.noise[name] = (given, leading)
    given, known = e.noise[name]
    if known != leading:
        raise UnsupportedError(f"the draw {node['place']} stands under {known} loops and under {leading}")
    return given


def _elements(e: Emitter, shape: Shape) -> str:
    """Words (1, n): G (j + 1) for each element of a shape, computed once in the outermost graph."""
    key = ("elements", shape if BATCH in shape else math.prod(int(d) for d in shape))
    if key not in e.root.constants:
        with e.outermost():
            one = e.const(np.int64(1))
            if BATCH in shape:
                last = e.op("Add", e.op("ReduceProd", e.dims(shape), keepdims=0), one)
            else:
                last = e.const(np.int64(math.prod(int(d) for d in shape) + 1))
            places = e.op("Range", one, last, one, hint="element")
            steps = e.op("Mul", _words(e, places), _word(e, GOLDEN))
            e.root.constants[key] = e.op("Unsqueeze", steps, e.ints(0), hint="elements")
    return e.root.constants[key]


def _hash(e: Emitter, v: str) -> str:
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        v = e.op("Mul", e.op("BitwiseXor", v, _right(e, v, shift)), _word(e, factor))
    return e.op("BitwiseXor", v, _right(e, v, 31))


def _unit(e: Emitter, bits: str) -> str:
    """24 bits as a double in (0, 1)."""
    real = e.op("Cast", bits, to=TensorProto.DOUBLE)
    return e.op("Mul", e.op("Add", real, e.const(np.float64(0.5))), e.const(np.float64(2.0**-24)))


def _words(e: Emitter, integers: str) -> str:
    """int64 as words of 64 bits: unsigned, but for importers of MLIR, which have signed ones alone."""
    return integers if e.plain else e.op("Cast", integers, to=TensorProto.UINT64)


def _word(e: Emitter, value: int) -> str:
    word = np.uint64(value % 2**64)
    return e.const(word.astype(np.int64) if e.plain else word)


def _right(e: Emitter, word: str, places: int) -> str:
    """A shift that fills with zeros. Of a signed word: a quotient without its sign bit, which goes in at its new place."""
    if not e.plain:
        return e.op("BitShift", word, _word(e, places), direction="RIGHT")
    rest = e.op("Div", e.op("BitwiseAnd", word, _word(e, 2**63 - 1)), _word(e, 2**places))
    return e.op("Add", rest, e.op("Where", e.op("Less", word, _word(e, 0)), _word(e, 2 ** (63 - places)), _word(e, 0)))
